"""`python -m benchmarks [NAME...]`: run all or the named measurements. Numbers after a name are its arguments."""

import sys
from importlib import import_module

ALL = (
    "startup",
    "first_visit",
    "dropped_image",
    "stepper",
    "trace",
    "quantization_debugger",
    "what_if",
    "throughput",
    "video",
    "intervals",
    "memory",
    "many_images",
    "dask_cluster",
    "robustness",
    "live_slider",
    "network_picture",
    "backbones",
    "load",
    "calibration",
    "recipes",
    "range_methods",
    "granularity",
    "rescue",
)


def main() -> None:
    for name in [word for word in sys.argv[1:] if not word.isdigit()] or ALL:
        print(f"\n== {name}")
        import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
