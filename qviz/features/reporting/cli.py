"""qviz report: verdict, models, AP and loss by class (with --dataset), worst images, layers, what to do, provenance."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options, output
from qviz.errors import SettingsError
from qviz.formatting import megabytes

if TYPE_CHECKING:
    from qviz.features.reporting import Report


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference", type=Path, nargs="?", metavar="REF", help=".tflite file, SavedModel, .keras or .h5"
    )
    parser.add_argument("variants", type=Path, nargs="*", metavar="VARIANT", help="quantized variants of it")
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, required=True, metavar="FILE.html", help="the page to write"
    )
    options.add_dataset(parser)
    options.add_images(parser, required=False)
    group = parser.add_argument_group("study: everything on the page, in a file that needs neither models nor images")
    group.add_argument("--save-study", type=options.OutputPath, metavar="FILE", help="write it beside the page")
    group.add_argument(
        "--study", type=Path, metavar="FILE", help="make the page from a saved study; nothing is computed"
    )
    group = parser.add_argument_group("page")
    group.add_argument(
        "--sections",
        type=options.names,
        metavar="LIST",
        help="names separated by commas (default: every section that has content)",
    )
    group.add_argument(
        "--also",
        type=options.names,
        metavar="LIST",
        help="robustness, tradeoff, slices, risk: these take time, so only on request",
    )
    group.add_argument(
        "--video", type=Path, metavar="FILE", help="a clip, or a folder of frames, for the section video"
    )
    group.add_argument(
        "--every", type=options.whole_number(1, 10_000), default=1, metavar="N", help="run every N-th frame of --video"
    )
    group.add_argument(
        "--note", action="append", default=[], metavar="SECTION=TEXT", help="text at the head of a section; repeatable"
    )
    group.add_argument("--title", default="", metavar="TEXT", help="by default the models' names")
    group.add_argument("--show", nargs="+", default=[], metavar="NAME", help="images to show (default: the worst 12)")
    options.add_common(parser, score=0.25, iou=True, detects=True, csv=False)


def run(args: argparse.Namespace) -> int:
    make = _new_report if args.study is None else _report_of_study
    result = make(args, _names(args.sections), dict(_note(text) for text in args.note))
    size = result.save(args.output).stat().st_size
    if args.save_study:
        from qviz.features.reporting import save_study

        save_study(result.study, args.save_study)
    if args.json:
        study = str(args.save_study) if args.save_study else None
        output.print_json({"file": str(args.output), "bytes": size, "sections": list(result.sections), "study": study})
    else:
        print(f"{args.output}: {megabytes(size)}, {', '.join(result.sections)}")
    return 0


def _report_of_study(args: argparse.Namespace, sections: list[str] | None, notes: dict[str, str]) -> Report:
    ignored = [
        name for name in ("reference", "dataset", "images", "also", "show", "title", "video") if getattr(args, name)
    ]
    if ignored:
        flag = "REF" if ignored[0] == "reference" else f"--{ignored[0]}"
        raise SettingsError(
            f"A saved study already contains the results, so {flag} has no effect; omit {flag} or --study."
            " --sections and --note still apply."
        )
    from qviz.features.reporting import open_study, report_of

    return report_of(open_study(args.study), sections, notes)


def _new_report(args: argparse.Namespace, sections: list[str] | None, notes: dict[str, str]) -> Report:
    if args.reference is None or not args.variants:
        raise SettingsError("A report compares models: give REF and at least one VARIANT, or a saved --study.")
    if not args.dataset and not args.images:
        raise SettingsError("Neither --dataset nor --images is given; a report needs one of them.")
    with options.session_of(args) as session:
        from qviz.features.reporting import check_sections, report_command  # imported while the workers start
        from qviz.features.reporting.study import Provenance
        from qviz.structures import digest_of

        check_sections(sections, args.dataset is not None)
        is_file = args.dataset is not None and args.dataset.is_file()
        provenance = Provenance(
            date=datetime.date.today().isoformat(),
            command=report_command([args.reference, *args.variants], _repeated(args), args.output),
            dataset_digest=digest_of(args.dataset.read_bytes()) if is_file else "",
        )
        result = session.report(
            sections=sections,
            notes=notes,
            also=_names(args.also) or (),
            name=args.title,
            shown=args.show,
            score=args.score,
            iou=args.iou,
            made=provenance,
            video=args.video,
            every=args.every,
        )
    options.remark(result.study.comparison.skipped)
    return result


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _note(text: str) -> tuple[str, str]:
    section, sign, note = text.partition("=")
    if not sign:
        raise SettingsError(f"--note is {text!r}; give a section and its text, e.g. verdict='Ship int8.'.")
    return section.strip(), note


REPEATED = (
    *("dataset", "dataset_images", "images", "classes", "sections", "also", "note", "title", "show", "video", "every"),
    *("labels", "decoder", "mean", "std", "channels", "resize", "class_offset", "nms_iou", "max_detections"),
    *("score", "iou", "threads"),
)
"""Options that change the content of the page, by their names in the namespace."""
DEFAULTS = {"score": 0.25, "iou": 0.5, "threads": 1, "every": 1}


def _repeated(args: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name in REPEATED if (value := getattr(args, name)) != DEFAULTS.get(name)}
