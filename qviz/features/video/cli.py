"""`qviz video`: run both models on the frames of a video, to see which objects flicker and when."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.formatting import UNKNOWN, plural, share
from qviz.structures import Loss

if TYPE_CHECKING:
    from qviz.features.video import VideoResult

SHOWN_TRACKS = 15


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, "1")
    parser.add_argument(
        "--video",
        type=Path,
        required=True,
        metavar="FILE",
        help="MP4, MOV, WebM, MKV or AVI file, or a folder of frames",
    )
    parser.add_argument(
        "--every", type=options.whole_number(1, 10_000), default=1, metavar="N", help="run every N-th frame (default 1)"
    )
    parser.add_argument(
        "--rate",
        type=options.number(0.01, 1000),
        default=30.0,
        metavar="X",
        help="frames per second of a folder of frames (default 30)",
    )
    parser.add_argument(
        "--out-of-range",
        action="store_true",
        help="also compare the reference's activations with the variant's calibrated ranges, once per second",
    )
    options.add_common(parser, score=0.25, detects=True)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args) as session:
        result = session.video(
            args.video, every=args.every, score=args.score, rate=args.rate, out_of_range=args.out_of_range
        )
    options.remark_warnings(result.warnings)
    options.remark(result.remarks)
    output.print_result(result, args, _print)
    return 0


def _print(result: VideoResult) -> None:
    print(result)
    print(f"\n{result.name}: {plural(len(result.frames), 'frame')}, {result.seconds:.1f} s")
    output.print_table(
        ["model", "blinks", "per minute", "presence", "jitter", "size jitter"],
        [
            [
                row.model,
                row.blinks,
                f"{row.blinks_per_minute:.1f}",
                share(row.presence),
                *map(_percent, (row.jitter, row.size_jitter)),
            ]
            for row in result.summary
        ],
    )
    print("\nwhat the variant loses, with 95% intervals over the tracks (positive is worse; * significant)")
    losses = result.losses
    output.print_table(
        ["measure", "loss", "interval", ""],
        [
            ["blinks per minute", *_cells(losses.blinks_per_minute, 1)],
            ["presence %", *_cells(losses.presence, 100)],
            ["jitter %", *_cells(losses.jitter, 100)],
        ],
    )
    rows = sorted(result.tracks, key=lambda row: (row.variant_presence - row.reference_presence, -row.blinks))
    print(f"\ntracks ({min(SHOWN_TRACKS, len(rows))} of {len(rows)}; those that the variant shows least come first)")
    output.print_table(
        ["label", "first", "last", "reference presence", "variant presence", "reference blinks", "variant blinks"],
        [
            [
                *(row.label, row.first, row.last, share(row.reference_presence), share(row.variant_presence)),
                *(row.reference_blinks, row.blinks),
            ]
            for row in rows[:SHOWN_TRACKS]
        ],
    )


def _cells(loss: Loss, factor: int) -> list[str | None]:
    if loss.value is None:
        return [None, None, ""]
    bounds = None
    if loss.low is not None and loss.high is not None:
        bounds = f"[{factor * loss.low:.2f}, {factor * loss.high:.2f}]"
    return [f"{factor * loss.value:+.2f}", bounds, "*" if loss.significant else ""]


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.2f}%"
