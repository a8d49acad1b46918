"""lighting and other corruptions: where the variant breaks before the reference does

AP where a dataset is given, else agreement with what REF finds on the clean images. The interaction is what a variant
loses under a corruption beyond what it loses when clean; above 0 it breaks where REF holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    from qviz.features.corruption_sweep import RobustnessReport
    from qviz.features.corruption_sweep.result import Robustness


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser)
    parser.add_argument("--dataset", type=Path, metavar="FILE", help="annotations, as for qviz evaluate")
    parser.add_argument(
        "--images", type=Path, nargs="+", default=[], metavar="PATH",
        help="images, folders or zip archives of them; with --dataset the folder of its images",
    )  # fmt: skip
    parser.add_argument(
        "--corruptions", default="lighting", metavar="LIST",
        help="names, families (lighting, published, pose) or all, with commas (default lighting)",
    )  # fmt: skip
    parser.add_argument("--severities", default="1,2,3,4,5", metavar="LIST", help="of 1 to 5 (default all)")
    parser.add_argument(
        "--layer-images", type=int, default=8, metavar="N",
        help="images on which every layer's range is watched (default 8; 0 leaves layers out)",
    )  # fmt: skip
    options.add_settings(parser, score=0.001)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    options.check_fraction("--score", args.score)
    if args.dataset is None and not args.images:
        raise DatasetError("Neither --dataset FILE nor --images PATH is given; a sweep needs one of them.")
    if args.layer_images < 0:
        raise SettingsError(f"--layer-images is {args.layer_images}; give a number from 0 on.")
    severities = _severities(args.severities)
    corruptions = _corruptions(args.corruptions)
    with options.engine_of(args) as engine, options.store_of(args) as store:
        from qviz import api  # imported while the workers start

        models = api.load([args.reference, *args.variants], engine, options.settings_of(args))
        result = api.robustness(
            models, args.dataset, args.images, corruptions, severities, engine, args.score, options.show_progress,
            args.threads, store, args.layer_images,
        )  # fmt: skip
    options.remark_warnings(result.sweep.warnings)
    options.remark(result.sweep.skipped)
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.sweep.to_frame())
    else:
        _show(result)
    return 0


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _corruptions(text: str) -> tuple[str, ...]:
    from qviz.corruptions import corruptions_named

    return corruptions_named(_words(text))


def _severities(text: str) -> list[int]:
    words = _words(text)
    if not words or any(word not in ("1", "2", "3", "4", "5") for word in words):
        raise SettingsError(f"--severities is {text!r}; give some of 1,2,3,4,5 (5 is the worst).")
    return [int(word) for word in words]


def _show(result: RobustnessReport) -> None:
    from qviz.features.corruption_sweep.text import robustness_verdict

    swept = result.sweep
    print(robustness_verdict(swept))
    print(f"\n{swept.dataset}: {swept.images} images; {swept.measure} x100")
    rows = [
        [row.model, output.ap(row.p), output.ap(row.mpc), output.share(row.rpc), _level(row.breaking_point)]
        for row in swept.summary
    ]
    output.print_table(["model", "P (clean)", "mPC", "rPC", "half gone at"], rows)
    print(f"\n{swept.measure} x100 by severity")
    severities = [str(level) for level in swept.severities]
    output.print_table(["corruption", "model", "clean", *severities, "half gone at"], _curves(swept))
    if swept.interactions:
        print("\ninteraction: lost beyond the reference's own loss, x100, with its 95% interval (* significant)")
        output.print_table(["variant", "corruption", "interaction", "interval", ""], _interactions(swept))
    for name in result.alarms:
        _show_ranges(result, name)


def _level(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _curves(swept: Robustness) -> Iterator[list[object]]:
    broken = {(row.model, row.corruption): row.severity for row in swept.breaking_points}
    for corruption in swept.corruptions:
        for model in swept.models:
            values = [output.ap(point.value) for point in swept.curve(model, corruption)]
            yield [corruption, model, *values, _level(broken[model, corruption])]


def _interactions(swept: Robustness) -> list[list[object]]:
    rows = sorted(swept.interactions, key=lambda row: (row.model, -(row.value or 0)))
    return [
        [
            row.model,
            row.corruption,
            output.signed_ap(row.value),
            output.interval(row.low, row.high),
            "*" if row.significant else "",
        ]
        for row in rows
    ]


def _show_ranges(result: RobustnessReport, name: str) -> None:
    from qviz.features.corruption_sweep.text import alarm_sentence, layers_sentence

    print(f"\n{name}: {layers_sentence(result, name)}")
    rows = [
        [layer.order, layer.op_kind, f"{layer.first:g}", f"{layer.shares[0]:.2%}", f"{max(layer.shares):.2%}"]
        for layer in result.saturations[name].first(most=5)
    ]
    if rows:
        output.print_table(["operator", "kind", "from severity", "clipped, clean", "at worst"], rows)
    print(alarm_sentence(result, name))
    alarm = result.alarms[name]
    if alarm.alarms:
        output.print_table(
            ["image", "out of range", "layers outside"],
            [[image.image, f"{image.score:.4f}", image.outside] for image in alarm.alarms[:10]],
        )
        print("to add to the calibration: " + ", ".join(row.image for row in alarm.add))
