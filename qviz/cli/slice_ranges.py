"""`qviz evaluate --out-of-range`: alarms by slice, images to add to the calibration, and the gain of adding them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.errors import SettingsError
from qviz.formatting import share

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.slices.ranges import SliceRanges
    from qviz.session import Session

SHOWN_SLICES = 12


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options --out-of-range and --calibration."""
    parser.add_argument(
        "--out-of-range",
        action="store_true",
        help="for each of --slices, the share of its images that drive the network far outside the variant's calibrated"
        " ranges; and which images of the worst slice to add to the calibration. With --calibration, int8 is built"
        " without and with them and measured on other images of the slice",
    )
    options.add_calibration(parser)


def check(args: argparse.Namespace) -> None:
    """Raise SettingsError if the options cannot be used together."""
    has_slices = args.slices is not None or args.traits is not None or args.gate_slices
    if args.out_of_range and not has_slices:
        raise SettingsError("--out-of-range is about slices; add e.g. --slices all.")
    if args.calibration and not args.out_of_range:
        raise SettingsError("--calibration measures what images of a slice bring; add --out-of-range.")


def ranges_of(session: Session, args: argparse.Namespace, result: Evaluation) -> list[SliceRanges]:
    """The alarms of every variant that has calibrated ranges; empty without --out-of-range."""
    from qviz.features.corruption_sweep.out_of_range import NO_RANGES, has_ranges

    if not args.out_of_range or result.slices is None:
        return []
    reference, *variants = session.models
    rows = []
    for variant in variants:
        if has_ranges(reference, variant):
            rows.append(session.slice_ranges(result, variant.name, calibration=args.calibration))
        else:
            options.remark([f"{variant.name}: {NO_RANGES}"])
    return rows


def show(rows: Sequence[SliceRanges]) -> None:
    """Print the slices with the largest share of alarms, and the sentences on each variant."""
    from qviz.features.slices.text import ranges_sentences

    for result in rows:
        print(f"\n{result.variant}: images far outside its calibrated ranges")
        slices = sorted(result.slices, key=lambda row: (-row.share, -row.images))[:SHOWN_SLICES]
        if result.alarms:
            output.print_table(
                ["slice", "alarms", "images", "share"],
                [[f"{row.trait}: {row.group}", row.alarms, row.images, share(row.share)] for row in slices],
            )
        print(*ranges_sentences(result, result.variant), sep="\n")
        options.remark(result.skipped)
