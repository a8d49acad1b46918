"""`qviz robustness`: measure models under lighting and other corruptions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.errors import DatasetError
from qviz.formatting import plural, points, share

if TYPE_CHECKING:
    from qviz.features.corruption_sweep import RobustnessReport
    from qviz.features.corruption_sweep.result import Interaction, Robustness

SHOWN_LAYERS, SHOWN_IMAGES = 5, 10
FLOOR_NOTE = (
    "(floor): one of the models has next to nothing left, so the figure is neither a loss nor an improvement; at least:"
    " the variant has next to nothing left at some severity, so its loss may be larger"
)


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The value is AP where a dataset is given, else agreement with what REF finds on the images without corruption."
        " The interaction is how much more a corruption costs the variant than REF, each against its own value without"
        " corruption; above 0 the variant is the more fragile."
    )
    options.add_models(parser)
    options.add_dataset(parser)
    options.add_images(parser, required=False)
    parser.add_argument(
        "--corruptions",
        type=_words,
        default="lighting",
        metavar="LIST",
        help="names, families (lighting, published, pose) or all, separated by commas (default lighting)",
    )
    parser.add_argument(
        "--severities",
        type=_severities,
        default="1,2,3,4,5",
        metavar="LIST",
        help="from 1 to 5, separated by commas; 5 is the worst (default all)",
    )
    parser.add_argument(
        "--layer-images",
        type=options.whole_number(0, 10_000),
        default=8,
        metavar="N",
        help="images on which the ranges of every layer are examined (default 8; 0: none)",
    )
    options.add_common(parser, score=0.001, detects=True)


def run(args: argparse.Namespace) -> int:
    if args.dataset is None and not args.images:
        raise DatasetError("Neither --dataset FILE nor --images PATH is given; one of them is needed.")
    options.check_one_source(args)
    with options.session_of(args) as session:
        result = session.robustness(
            corruptions=args.corruptions, severities=args.severities, score=args.score, layer_images=args.layer_images
        )
    options.remark_warnings(result.sweep.warnings)
    options.remark(result.sweep.skipped)
    output.print_result(result, args, _show)
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in options.names(text).split(",") if word.strip())


def _severities(text: str) -> tuple[int, ...]:
    words = _words(text)
    if not words or any(word not in ("1", "2", "3", "4", "5") for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of severities; give some of 1,2,3,4,5.")
    return tuple(int(word) for word in words)


def _show(result: RobustnessReport) -> None:
    sweep = result.sweep
    print(result)
    print(f"\n{sweep.dataset}: {plural(sweep.images, 'image')}; {sweep.measure} x100")
    rows = [
        [row.model, points(row.p), points(row.mpc), share(row.rpc), _level(row.breaking_point)] for row in sweep.summary
    ]
    output.print_table(["model", "P (clean)", "mPC", "rPC", "half gone at"], rows)
    print(f"\n{sweep.measure} x100 by severity")
    severities = [str(level) for level in sweep.severities]
    output.print_table(["corruption", "model", "clean", *severities, "half gone at"], _curves(sweep))
    if sweep.interactions:
        print("\ninteraction: lost beyond the reference's own loss, x100, with its 95% interval (* significant)")
        if any(row.floor or row.at_least for row in sweep.interactions):
            print(FLOOR_NOTE)
        output.print_table(["variant", "corruption", "interaction", "interval", ""], _interactions(sweep))
    for name in result.alarms:
        _show_ranges(result, name)


def _level(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _curves(sweep: Robustness) -> Iterator[list[object]]:
    broken = {(row.model, row.corruption): row.severity for row in sweep.breaking_points}
    for corruption in sweep.corruptions:
        for model in sweep.models:
            values = [points(point.value) for point in sweep.curve(model, corruption)]
            yield [corruption, model, *values, _level(broken[model, corruption])]


def _interactions(sweep: Robustness) -> list[list[object]]:
    rows = sorted(sweep.interactions, key=lambda row: (row.model, -(row.value or 0)))
    return [[row.model, row.corruption, *output.loss_cells(row)[:2], _mark(row)] for row in rows]


def _mark(row: Interaction) -> str:
    return "(floor)" if row.floor else ("*" if row.significant else "") + (" at least" if row.at_least else "")


def _show_ranges(result: RobustnessReport, name: str) -> None:
    from qviz.features.corruption_sweep.text import alarm_sentence, layers_sentence

    print(f"\n{name}: {layers_sentence(result, name)}")
    rows = [
        [layer.op_index, layer.op_type, f"{layer.first:g}", f"{layer.shares[0]:.2%}", f"{max(layer.shares):.2%}"]
        for layer in result.saturations[name].first_layers(SHOWN_LAYERS)
    ]
    if rows:
        output.print_table(["operator", "type", "from severity", "clipped, clean", "at worst"], rows)
    alarm = result.alarms[name]
    print(alarm_sentence(alarm))
    if alarm.alarms:
        output.print_table(
            ["image", "out of range", "layers outside"],
            [[image.image, f"{image.score:.4f}", image.layers_outside] for image in alarm.alarms[:SHOWN_IMAGES]],
        )
        print("Add to the calibration: " + ", ".join(row.image for row in alarm.add))
