"""`qviz evaluate --at`: options of the operating point and of its gate, and how both are printed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from qviz.cli import options, output
from qviz.formatting import points
from qviz.result import to_json

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.accuracy.gate import Gate
    from qviz.features.accuracy.recall_gate import RecallGate
    from qviz.features.accuracy.slice_loss import Slices

SHOWN_CLASSES, SHOWN_SLICES = 10, 12


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options --at and --slices."""
    parser.add_argument(
        "--slices",
        metavar="all|NAME,...",
        help="where the variants lose more recall than elsewhere: brightness, contrast, sharpness, noise, saturation,"
        " time_of_day, folder, crowding, class, size, aspect, position, truncation",
    )
    parser.add_argument(
        "--at",
        metavar="X|best|FILE",
        help="confidence in use: a number, best (the reference's highest F1, the default), or a JSON file of class ->"
        " number; shows precision, recall and false positives per image there",
    )


def add_gate(group: argparse._ArgumentGroup) -> None:
    """Add the options --max-recall-loss and --gate-slices."""
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


def gate_of(result: Evaluation, args: argparse.Namespace) -> RecallGate | None:
    """The outcome of --max-recall-loss, or None if the option is not given."""
    if args.max_recall_loss is None:
        return None
    from qviz.features.accuracy.recall_gate import check_recall

    return check_recall(result, args.max_recall_loss, args.confident, args.strict, args.gate_slices)


def gates_to_json(gate: Gate | None, recall_gate: RecallGate | None) -> dict[str, Any] | None:
    """The gates as JSON, the one on recall under `recall`. `passed` is true if every gate that was requested passes."""
    if recall_gate is None:
        return gate.to_json() if gate else None
    recall: dict[str, Any] = to_json(recall_gate)
    if gate is None:
        return {**recall, "recall": recall}
    both = {"passed": gate.passed and recall_gate.passed}
    return {**gate.to_json(), **both, "recall": recall}


def show(result: Evaluation, args: argparse.Namespace, gate: RecallGate | None) -> None:
    """Print the results of --at and --max-recall-loss."""
    if args.at is not None or gate is not None:
        _print_operating(result)
    if result.slices is not None:
        _print_slices(result.slices)
    if gate is not None:
        _print_recall_gate(gate)


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
    rows = [
        [loss.variant, row.label, *output.loss_cells(row.recall), threshold_text(row.needed.threshold)]
        for loss in operating.losses
        for row in loss.per_class[:SHOWN_CLASSES]
        if row.recall.value
    ]
    if rows:
        print(f"\nloss of recall by class (worst {SHOWN_CLASSES} of each variant)")
        output.print_table(["variant", "class", "loss", "interval", "", "threshold to keep recall"], rows)


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


def _print_recall_gate(gate: RecallGate) -> None:
    limit = f"at most {100 * gate.max_recall_loss:.1f} points of recall lost"
    print(f"\ngate: {limit}{' in every slice' if gate.slices else ''}: {gate.outcome}")
    options.remark(list(dict.fromkeys(filter(None, (*gate.remarks, gate.inconclusive)))))
