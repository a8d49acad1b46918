"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.errors import SettingsError
from qviz.progress import TimeLeft

if TYPE_CHECKING:
    from qviz.engine import Engine
    from qviz.store import Store
    from qviz.structures import Settings


def add_models(parser: argparse.ArgumentParser, variants: bool = True) -> None:
    """REF VARIANT..."""
    parser.add_argument(
        "reference",
        type=Path,
        metavar="REF",
        help=".tflite file, SavedModel, .keras or .h5",
    )
    if variants:
        parser.add_argument("variants", type=Path, nargs="+", metavar="VARIANT", help="quantized variants of it")


def add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, metavar="PATH", help="images, folders or zip archives of them"
    )


def add_settings(parser: argparse.ArgumentParser, score: float) -> None:
    """What models need beyond their files, and how objects are counted."""
    group = parser.add_argument_group("settings (for all models of the call; what one alone needs: FILE.qviz.json)")
    group.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line")
    group.add_argument("--decoder", metavar="NAME", help="how outputs become boxes (found from the file)")
    group.add_argument("--mean", metavar="A[,B,C]", help="x -> (x - mean) / std on pixel values 0..255")
    group.add_argument("--std", metavar="A[,B,C]")
    group.add_argument("--channels", metavar="rgb|bgr")
    group.add_argument("--resize", metavar="stretch|letterbox|letterbox-top-left")
    group.add_argument("--class-offset", type=int, metavar="N", help="1 where the file counts background as class 0")
    group.add_argument("--nms-iou", type=float, metavar="X", help="overlap from which NMS suppresses a box")
    group.add_argument("--max-detections", type=int, metavar="N", help="objects kept an image")
    group.add_argument("--score", type=float, default=score, metavar="X", help=f"least confidence (default {score})")


def add_iou(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--iou", type=float, default=0.5, metavar="X", help="least overlap of a pair (default 0.5)")


def add_work(parser: argparse.ArgumentParser) -> None:
    """Where and how wide the work runs."""
    group = parser.add_argument_group("work")
    group.add_argument(
        "--workers",
        metavar="N|tcp://HOST:PORT",
        help="worker processes on this machine (default: one a core), or the scheduler of a Dask cluster",
    )
    group.add_argument("--threads", type=int, default=1, metavar="N", help="threads an interpreter (default 1)")
    kept = group.add_mutually_exclusive_group()
    kept.add_argument("--cache", type=Path, metavar="DIR", help="keeps detections (default: your cache folder)")
    kept.add_argument("--no-cache", action="store_true", help="compute everything anew and keep nothing")


def add_output(parser: argparse.ArgumentParser, csv: bool = True) -> None:
    """--json, --csv."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="one JSON document on standard output")
    if csv:
        group.add_argument("--csv", action="store_true", help="rows with commas on standard output")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that the call names. Raises SettingsError, LabelsError."""
    from qviz.structures.settings import Settings, per_channel  # numpy: 0.15 s that --help does without

    labels = None
    if args.labels is not None:
        from qviz.datasets.labels import read_labels

        labels = read_labels(args.labels)
    return Settings(
        mean=per_channel(args.mean.split(","), "--mean", "The call") if args.mean else None,
        std=per_channel(args.std.split(","), "--std", "The call") if args.std else None,
        channels=args.channels,
        resize=args.resize,
        decoder=args.decoder,
        nms_iou=args.nms_iou,
        max_detections=args.max_detections,
        class_offset=args.class_offset,
        labels=labels,
    )


def check_fraction(name: str, value: float) -> float:
    """A share in (0, 1] or [0, 1]. Raises SettingsError."""
    if not 0 <= value <= 1 or (name == "--iou" and value == 0):
        raise SettingsError(f"{name} is {value:g}; give a number between 0 and 1, e.g. 0.5.")
    return value


@contextlib.contextmanager
def engine_of(args: argparse.Namespace) -> Iterator[Engine]:
    """The workers of one call. Raises SettingsError."""
    from qviz.engine import LocalEngine, importing

    if not 1 <= args.threads <= 256:
        raise SettingsError(f"--threads is {args.threads}; give a number between 1 and 256.")
    if args.workers is not None and "://" in args.workers:
        from qviz.engine.cluster import DaskEngine  # dask: half a second, and not installed everywhere

        with DaskEngine(args.workers, warm_up=importing("qviz.detector")) as cluster:
            yield cluster
        return
    with LocalEngine(_count(args.workers), warm_up=importing("qviz.detector")) as engine:
        yield engine


def _count(workers: str | None) -> int | None:
    if workers is None:
        return None
    if workers.isdecimal() and 1 <= int(workers) <= 256:
        return int(workers)
    raise SettingsError(
        f"--workers is {workers}; give a number between 1 and 256. A Dask cluster is given by its scheduler's address,"
        " e.g. tcp://127.0.0.1:8786."
    )


@contextlib.contextmanager
def store_of(args: argparse.Namespace) -> Iterator[Store | None]:
    """Where this call keeps detections, or None where nothing is kept."""
    if args.no_cache:
        yield None
        return
    from qviz.store import FILE, Store, cache_folder

    try:
        folder = args.cache or cache_folder()
    except RuntimeError:
        yield None  # an account without a home folder
        return
    with Store(folder / FILE) as store:
        yield store
    remark(store.remarks)


class Progress:
    """On standard error, where a person watches it: how many are done, and the time left."""

    def __init__(self) -> None:
        self._left: TimeLeft | None = None

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        self._left = self._left or TimeLeft()
        seconds = self._left.after(done, total)
        left = "" if seconds is None or done >= total else f", {duration(seconds)} left"
        end = "\n" if done >= total else ""
        print(f"\r{done} / {total} images{left}\x1b[K", end=end, file=sys.stderr, flush=True)
        if done >= total:
            self._left = None  # the next count starts its own clock


def duration(seconds: float) -> str:
    """3725 -> 1:02:05, 65 -> 1:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


show_progress = Progress()


def remark_warnings(warnings: tuple[dict[str, Any], ...]) -> None:
    """Warnings of lint, on standard error; advice is left to `qviz info`."""
    remark([f"{warning['message']} {warning['cure']}" for warning in warnings if not warning["advice"]])


def remark(sentences: list[str] | tuple[str, ...]) -> None:
    """Sentences that go beside the result, on standard error."""
    for sentence in sentences:
        print(f"qviz: {sentence}", file=sys.stderr)
