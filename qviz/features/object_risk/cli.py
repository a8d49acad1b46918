"""`qviz risk`: which objects of the reference the variant will probably lose or relabel."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.formatting import plural, score, share, signed_score

if TYPE_CHECKING:
    from qviz.features.object_risk import Risks

SHOWN_CLASSES, SHOWN_OBJECTS = 10, 15


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The risk of an object comes from the reference alone (its margins to the threshold, to the runner-up class and"
        " to NMS) and from the noise of the variant's head on the calibration images. It is tested on --images; a risk"
        " with an AUROC below .60 there is not shown."
    )
    options.add_models(parser, variants="1")
    options.add_images(parser)
    options.add_calibration(parser)
    options.add_common(parser, score=0.25, iou=True, detects=True)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args) as session:
        result = session.risk(score=args.score, iou=args.iou)
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    output.print_result(result, args, _print)
    return 0


def _print(result: Risks) -> None:
    print(result)
    if result.noise is not None:
        print(_noise(result))
    shown = [test for test in result.tests if test.shown]
    for test in shown:
        print(f"\n{test.outcome}, tenths of the objects by rising risk")
        output.print_table(
            ["objects", "mean risk", "observed"],
            [[row.objects, score(row.risk), score(row.share)] for row in test.deciles],
        )
    if not shown:
        return
    print(f"\nclasses with the highest risk ({min(SHOWN_CLASSES, len(result.per_class))} of {len(result.per_class)})")
    output.print_table(
        ["class", "objects", "risk: lost", "relabelled", "observed: lost", "relabelled"],
        [
            [
                row.label,
                row.objects,
                share(row.lost),
                share(row.relabelled),
                share(row.lost_share),
                share(row.relabelled_share),
            ]
            for row in result.per_class[:SHOWN_CLASSES]
        ],
    )
    print("\nobjects with the highest risk (--json and --csv list all)")
    output.print_table(
        ["image", "class", "confidence", "threshold", "runner-up", "", "NMS", "risk: lost", "relabelled", "observed"],
        [
            [
                *(row.image, row.label, score(row.score), signed_score(row.threshold_margin)),
                *(signed_score(row.runner_up_margin), row.runner_up, signed_score(row.nms_margin)),
                *(share(row.lost), share(row.relabelled), row.change),
            ]
            for row in result.objects[:SHOWN_OBJECTS]
        ],
    )


def _noise(result: Risks) -> str:
    noise = result.noise
    assert noise is not None
    source = "the other images" if result.cross_fitted else plural(result.calibration_images, "calibration image")
    return (
        f"Noise of the head on {source}, {plural(noise.objects, 'object')}: scores move by"
        f" {noise.score_shift:+.2f} ± {noise.score_spread:.2f} (logit), boxes by {noise.box_error:.3f} (1 - IoU);"
        f" {share(noise.gone)} of the objects have no box left."
    )
