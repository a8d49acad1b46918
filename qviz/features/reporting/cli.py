"""one self-contained HTML page for the meeting

Verdict, models, accuracy and loss by class (with --dataset), worst images, layers, what to do next, how it was made.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import SettingsError

if TYPE_CHECKING:
    from qviz.api.meeting import Report


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference", type=Path, nargs="?", metavar="REF", help=".tflite file, SavedModel, .keras or .h5"
    )
    parser.add_argument("variants", type=Path, nargs="*", metavar="VARIANT", help="quantized variants of it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.html", help="the page to write")
    parser.add_argument("--dataset", type=Path, metavar="FILE", help="annotated images, as `qviz evaluate` takes them")
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="images, folders or zip archives of them; with a dataset by default its own, or the folder that has them",
    )
    group = parser.add_argument_group("study: all that the page tells, in a file that needs neither models nor images")
    group.add_argument("--save-study", type=Path, metavar="FILE", help="keep it beside the page")
    group.add_argument(
        "--study", type=Path, metavar="FILE", help="make the page of one that was kept, without any work"
    )
    group = parser.add_argument_group("page")
    group.add_argument("--sections", metavar="LIST", help="names with commas; by default all there is something for")
    group.add_argument("--also", metavar="LIST", help="robustness, tradeoff: minutes of work, so made only if named")
    group.add_argument(
        "--note", action="append", default=[], metavar="SECTION=TEXT", help="text at the head of a section; repeatable"
    )
    group.add_argument("--title", default="", metavar="TEXT", help="by default the models' names")
    group.add_argument("--show", nargs="+", default=[], metavar="NAME", help="images to show (default: the worst 12)")
    options.add_settings(parser, score=0.25)
    options.add_iou(parser)
    options.add_work(parser)
    options.add_output(parser, csv=False)


def run(args: argparse.Namespace) -> int:
    made = _made_anew if args.study is None else _of_study
    result = made(args, _names(args.sections), dict(_note(text) for text in args.note))
    size = result.write(args.output)
    if args.save_study:
        from qviz import api

        api.save_study(result.study, args.save_study)
    if args.json:
        study = str(args.save_study) if args.save_study else None
        output.print_json({"file": str(args.output), "bytes": size, "sections": list(result.sections), "study": study})
    else:
        print(f"{args.output}: {output.megabytes(size)}, {', '.join(result.sections)}")
    return 0


def _of_study(args: argparse.Namespace, sections: list[str] | None, notes: dict[str, str]) -> Report:
    if found := [name for name in ("reference", "dataset", "images", "also", "show", "title") if getattr(args, name)]:
        raise SettingsError(
            f"--study is made already, so {_flag(found[0])} changes nothing; leave one of them out. Sections and notes"
            " can be chosen anew."
        )
    from qviz import api

    return api.report_of(api.open_study(args.study), sections, notes)


def _flag(name: str) -> str:
    return "REF" if name == "reference" else f"--{name}"


def _made_anew(args: argparse.Namespace, sections: list[str] | None, notes: dict[str, str]) -> Report:
    options.check_fraction("--score", args.score)
    options.check_fraction("--iou", args.iou)
    if args.reference is None or not args.variants:
        raise SettingsError("A report compares models: give REF and at least one VARIANT, or a saved --study.")
    if not args.dataset and not args.images:
        raise SettingsError("Neither --dataset nor --images is given; a report needs one of them.")
    also = _names(args.also) or []
    with options.engine_of(args) as engine, options.store_of(args) as store:
        from qviz import api  # imported while the workers start
        from qviz.api.meeting import check_sections
        from qviz.features.reporting.study import Made
        from qviz.features.reporting.work import Wanted

        check_sections(sections, args.dataset is not None)
        models = api.load([args.reference, *args.variants], engine, options.settings_of(args))
        wanted = Wanted(name=args.title, shown=tuple(args.show), score=args.score, iou=args.iou)
        made = Made(date=datetime.date.today().isoformat(), command=command_of(args))
        result: Report = api.report(
            models, args.dataset, args.images, sections, notes, also, wanted, made, engine, options.show_progress,
            args.threads, store,
        )  # fmt: skip
    options.remark(result.study.comparison.skipped)
    return result


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _note(text: str) -> tuple[str, str]:
    section, sign, note = text.partition("=")
    if not sign:
        raise SettingsError(f"--note is {text!r}; give a section and its text, e.g. verdict='Ship int8.'.")
    return section.strip(), note


SAID = (
    "dataset", "images", "sections", "also", "note", "title", "show", "labels", "decoder", "mean", "std", "channels",
    "resize", "class_offset", "nms_iou", "max_detections", "score", "iou", "threads",
)  # fmt: skip
"""Options that decide what the page says, by their names in the namespace."""
USUAL = {"score": 0.25, "iou": 0.5, "threads": 1}


def command_of(args: argparse.Namespace) -> str:
    """The command that makes the same page again, as a shell takes it."""
    words = ["qviz", "report", str(args.reference), *map(str, args.variants)]
    for name in SAID:
        value: Any = getattr(args, name)
        if value in (None, [], "") or value == USUAL.get(name):
            continue
        flag = "--" + name.replace("_", "-")
        if name == "note":
            words += [word for text in value for word in (flag, text)]
        else:
            words += [flag, *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join([*words, "-o", str(args.output)])
