"""`qviz evaluate --at`: the options for the operating point, slices and their gate, and printing their results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options, output
from qviz.errors import SettingsError
from qviz.formatting import encodable, points, share

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.accuracy.gate import Gate, Measure
    from qviz.features.accuracy.operating import Operating
    from qviz.features.accuracy.slice_loss import Slices

SHOWN_CLASSES, SHOWN_SLICES = 10, 12


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options --at and --slices."""
    parser.add_argument(
        "--slices",
        type=options.names,
        metavar="all|NAME,...",
        help="where the variants lose more recall than elsewhere: brightness, contrast, sharpness, noise, saturation,"
        " time_of_day, folder, crowding, class, size, aspect, position, truncation, and every field of the images and"
        " annotations in a COCO file; class+size crosses two",
    )
    parser.add_argument(
        "--traits",
        type=Path,
        metavar="FILE.csv",
        help="further traits of the images for --slices, one row per image: image,weather,...; alone, slices by its"
        " columns",
    )
    parser.add_argument(
        "--slice-images",
        type=options.OutputPath,
        metavar="FILE.csv",
        help="write the images of every slice: trait, group, image",
    )
    parser.add_argument(
        "--at",
        metavar="X|best|FILE",
        help="confidence in use: a number, best (the reference's highest F1, the default), or a JSON file of class ->"
        " number; shows precision, recall and false positives per image there",
    )


def add_gate(group: argparse._ArgumentGroup) -> None:
    """Add the options of further limits, and --gate-slices."""
    for kind in ("keypoint", "mask"):
        group.add_argument(
            f"--max-{kind}-ap-loss",
            type=options.number(-1, 1),
            metavar="X",
            help=f"exit with 1 when a variant loses more AP of {kind}s (0..1) than this, or returns no {kind}s; with 2"
            f" if no {kind}s are annotated",
        )
    group.add_argument(
        "--gate-slices",
        action="store_true",
        help="apply --max-recall-loss to every slice, too: to those of --slices, by default to all",
    )
    group.add_argument(
        "--max-recall-loss",
        type=options.number(-1, 1),
        metavar="X",
        help="exit with 1 when a variant loses more recall (0..1) than this at the confidence in use (--at)",
    )


def check_slices(args: argparse.Namespace) -> None:
    """Raise SettingsError if the options for slices cannot be used together."""
    if args.slice_images is not None:
        if args.slices is None and args.traits is None and not args.gate_slices:
            raise SettingsError("--slice-images writes the images of slices; add e.g. --slices all.")
        output.check_writable(args.slice_images)
    if (args.slices is not None or args.traits is not None) and not args.variants:
        option = "--traits" if args.slices is None else "--slices"
        raise SettingsError(f"{option} is about the loss of a variant, and only one model is given; add a variant.")


def write_slice_images(result: Evaluation, path: Path | None) -> None:
    """Write the file of --slice-images. Raises SettingsError if that fails."""
    if path is not None and result.slices is not None:
        output.write(path, encodable(result.slices.images_to_csv()).encode())


def limits_of(args: argparse.Namespace) -> dict[Measure, float | None]:
    """Measure -> the limit of its option `--max-NAME-loss`, or None."""
    from qviz.features.accuracy.gate import UNITS

    return {measure: getattr(args, f"max_{measure}_loss") for measure in UNITS}


def gates_to_json(gates: Sequence[Gate]) -> dict[str, Any] | None:
    """The gates as JSON; None if there are none. Each gate but that on AP is also under its measure, e.g. `recall`.

    `passed`: whether all passed.
    """
    document: dict[str, Any] = {}
    for gate in reversed(gates):
        if gate.measure != "ap":
            document[gate.measure] = gate.to_json()
        document |= gate.to_json()
    return {**document, "passed": all(gate.passed for gate in gates)} if gates else None


def show(result: Evaluation, args: argparse.Namespace, gates: Sequence[Gate]) -> None:
    """Print the results of --at and --slices, and the gates."""
    if args.at is not None or args.max_recall_loss is not None:
        _print_operating(result)
    if result.slices is not None:
        _print_slices(result.slices)
    for gate in gates:
        print(f"\ngate: {gate.condition}: {gate.outcome}")
        options.remark(list(gate.sentences))


def _print_operating(result: Evaluation) -> None:
    """Print precision, recall and false positives of every model at the confidence in use, and the worst classes."""
    from qviz.features.accuracy.text_operating import confidence_text, operating_sentences, threshold_text

    operating = result.operating
    if operating is None:
        return
    print(f"\nat {confidence_text(operating)}, x100 except counts")
    output.print_table(
        ["model", "precision", "recall", "misses", "false positives per image"],
        [
            [row.name, points(one.precision), points(one.recall), one.misses, f"{one.false_positives_per_image:.2f}"]
            for row in operating.models
            for one in (row.figures,)
        ],
    )
    print(*operating_sentences(operating), sep="\n")
    _print_recoveries(operating)
    rows = [
        [loss.variant, row.label, *output.loss_cells(row.recall), threshold_text(row.needed.threshold)]
        for loss in operating.losses
        for row in loss.per_class[:SHOWN_CLASSES]
        if row.recall.value
    ]
    if rows:
        print(f"\nloss of recall by class (worst {SHOWN_CLASSES} of each variant)")
        output.print_table(["variant", "class", "loss", "interval", "", "threshold to keep recall"], rows)


def _print_recoveries(operating: Operating) -> None:
    """Print what another threshold and recalibrated scores bring back."""
    from qviz.features.accuracy.text_operating import METHOD_WORDS, recovery_sentence, threshold_text

    rows = [
        [
            *(loss.variant, METHOD_WORDS[row.method], threshold_text(row.threshold), points(row.f1)),
            *(*output.loss_cells(row.loss), share(row.recovered), points(row.precision), points(row.recall)),
            *(f"{row.false_positives_per_image:.2f}", points(row.calibration_error)),
        ]
        for loss in operating.losses
        for row in loss.recoveries
    ]
    if not rows:
        return
    print("\nwhat brings F1 back, each fitted on other images, x100 (* significant)")
    columns = ["variant", "scores", "threshold", "F1", "loss", "interval", "", "back", "precision", "recall"]
    output.print_table([*columns, "false positives", "ECE"], rows)
    for loss in operating.losses:
        if sentence := recovery_sentence(loss, loss.variant):
            print(sentence)


def _print_slices(slices: Slices) -> None:
    from qviz.features.slices.text import variant_sentences

    print("\nslices: loss of recall, and how much more than elsewhere, x100 (* significant, Holm over the slices)")
    output.print_table(
        ["slice", "variant", "loss", "interval", "", "more", "interval", "", "objects", "images"],
        [
            [
                *(f"{row.trait}: {row.group}", loss.variant, *output.loss_cells(loss.loss)),
                *(*output.loss_cells(loss.excess), row.truths, row.images),
            ]
            for row in slices.rows[:SHOWN_SLICES]
            for loss in row.losses
        ],
    )
    if slices.rows:
        print(*variant_sentences(slices, [loss.variant for loss in slices.rows[0].losses]), sep="\n")
    options.remark(slices.remarks)
