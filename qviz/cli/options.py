"""Options that several commands share, and the session that they describe. A command adds only options that it uses."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.errors import DatasetError
from qviz.formatting import duration
from qviz.progress import Progress, TimeLeft

if TYPE_CHECKING:
    from qviz.features.inspection.warning import Warning
    from qviz.session import Session

INPUTS = ("images", "dataset", "dataset_images", "calibration", "classes", "workers", "threads")
SETTINGS = ("labels", "mean", "std", "channels", "resize", "decoder", "class_offset", "nms_iou", "max_detections")


class OutputPath(type(Path())):  # type: ignore[misc]
    """Path of a file that a command writes. `output.check_inputs_stay` refuses a path that the command also reads."""


def names(text: str) -> str:
    """An argparse type: names separated by commas, at least one."""
    if not text.replace(",", "").strip():
        raise argparse.ArgumentTypeError(f"{text!r} names nothing; give one or more names, separated by commas.")
    return text


def add_models(parser: argparse.ArgumentParser, variants: str | None = "+") -> None:
    """Add the arguments REF VARIANT... (`+`), REF [VARIANT...] (`*`), REF VARIANT (`1`), or only REF (None)."""
    parser.add_argument("reference", type=Path, metavar="REF", help=".tflite file, SavedModel, .keras or .h5")
    if variants in ("+", "*"):
        parser.add_argument("variants", type=Path, nargs=variants, metavar="VARIANT", help="quantized variants of it")
    elif variants == "1":
        parser.add_argument("variants", type=Path, nargs=1, metavar="VARIANT", help="a quantized variant of it")


def _add_paths(parser: argparse.ArgumentParser, option: str, required: bool, text: str) -> None:
    parser.add_argument(option, type=Path, nargs="+", default=[], required=required, metavar="PATH", help=text)


def add_images(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --images PATH..."""
    _add_paths(parser, "--images", required, "images, folders or zip archives of them")


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add --dataset FILE and --dataset-images DIR."""
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FILE",
        help="COCO JSON, a YOLO data.yaml, a TFRecord, or a folder or zip in COCO, YOLO or Pascal VOC layout",
    )
    parser.add_argument(
        "--dataset-images",
        type=Path,
        metavar="DIR",
        help="folder of the dataset's images, if they are not beside the file",
    )


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Add --classes NAME,..."""
    parser.add_argument("--classes", type=names, metavar="NAME,...", help="count objects of these classes only")


def add_calibration(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add --calibration PATH..."""
    _add_paths(parser, "--calibration", required, "calibration images, folders or zip archives of them")


def add_older_name(parser: argparse.ArgumentParser, older: str, newer: str) -> None:
    """Accept the older name of an option for one release, with a note on standard error; --help does not show it."""
    option = next(action for action in parser._actions if newer in action.option_strings)
    parser.add_argument(
        older,
        dest=option.dest,
        const=newer,
        nargs=option.nargs,
        type=option.type,  # type: ignore[arg-type]
        action=_OlderName,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )


class _OlderName(argparse.Action):
    """Stores the option's values under its newer name and prints a note."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        remark([f"{option} is now called {self.const}; the older name will be removed."])
        setattr(namespace, self.dest, values)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options for the models' settings."""
    group = parser.add_argument_group("settings (for all models of this call; for a single model: FILE.qviz.json)")
    group.add_argument("--labels", type=Path, metavar="FILE", help="class names, one per line")
    group.add_argument("--decoder", metavar="NAME", help="how outputs become boxes (by default found from the file)")
    group.add_argument("--mean", metavar="A[,B,C]", help="x -> (x - mean) / std on pixel values 0..255")
    group.add_argument("--std", metavar="A[,B,C]")
    group.add_argument("--channels", metavar="rgb|bgr")
    group.add_argument("--resize", metavar="stretch|letterbox|letterbox-top-left")
    group.add_argument(
        "--class-offset", type=whole_number(0, 1), metavar="N", help="1 if the file counts background as class 0"
    )
    group.add_argument("--nms-iou", type=fraction, metavar="X", help="IoU threshold of NMS")
    group.add_argument(
        "--max-detections", type=whole_number(1, 100_000), metavar="N", help="maximum detections per image"
    )


def add_score(parser: argparse.ArgumentParser, default: float) -> None:
    """Add --score X."""
    parser.add_argument(
        "--score", type=fraction, default=default, metavar="X", help=f"minimum confidence (default {default})"
    )


def add_iou(parser: argparse.ArgumentParser) -> None:
    """Add --iou X."""
    parser.add_argument(
        "--iou", type=positive_fraction, default=0.5, metavar="X", help="minimum IoU of a matched pair (default 0.5)"
    )


def add_common(
    parser: argparse.ArgumentParser,
    score: float | None = None,
    iou: bool = False,
    detects: bool = False,
    csv: bool = True,
) -> None:
    """Add the options that most commands share: settings, --score and --iou if requested, workers, output.

    Args:
        score: Default of --score; with None, the command has no such option.
        iou: Whether the command has --iou.
        detects: Whether the command runs detection, so that classes, cache and threads can be set.
        csv: Whether the command has --csv.
    """
    if detects:
        add_classes(parser)
    add_settings(parser)
    if score is not None:
        add_score(parser, score)
    if iou:
        add_iou(parser)
    add_work(parser, detects)
    add_output(parser, csv)


def add_work(parser: argparse.ArgumentParser, detects: bool = False) -> None:
    """Add the options for workers and, if the command runs detection, for cache and threads; see `add_common`."""
    group = parser.add_argument_group("work")
    group.add_argument(
        "--workers",
        metavar="N|tcp://HOST:PORT",
        help="worker processes on this machine (default: one per core), or the scheduler of a Dask cluster",
    )
    if detects:
        group.add_argument(
            "--threads", type=whole_number(1, 256), default=1, metavar="N", help="threads per interpreter (default 1)"
        )
        choice = group.add_mutually_exclusive_group()
        choice.add_argument(
            "--cache", type=Path, metavar="DIR", help="folder for cached detections (default: your cache folder)"
        )
        choice.add_argument("--no-cache", action="store_true", help="recompute everything, cache nothing")


def add_output(parser: argparse.ArgumentParser, csv: bool = True) -> None:
    """Add --json and, if requested, --csv."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="one JSON document on standard output")
    if csv:
        group.add_argument("--csv", action="store_true", help="CSV on standard output")


def fraction(text: str) -> float:
    """An argparse type: a number in [0, 1]."""
    return number(0, 1)(text)


def positive_fraction(text: str) -> float:
    """An argparse type: a number in (0, 1]."""
    if (value := fraction(text)) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0; give a number up to 1, e.g. 0.5.")
    return value


def number(low: float, high: float) -> Callable[[str], float]:
    """An argparse type: a number in [low, high]."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number between {low:g} and {high:g}.")
        return value

    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number in [low, high]."""

    def parse(text: str) -> int:
        value = number(low, high)(text)
        if value != int(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number.")
        return int(value)

    return parse


@contextlib.contextmanager
def session_of(
    args: argparse.Namespace, models: Sequence[Path] | None = None, progress: Progress | None = None
) -> Iterator[Session]:
    """The session that a command's arguments describe; its workers start immediately and stop at the end.

    Args:
        models: Model files; by default REF and the variants.
        progress: Receives progress reports; by default they are shown on standard error.
    """
    from qviz.session import Session  # the analyses are imported while the workers start

    paths = list(models or [args.reference, *(args.variants if "variants" in args else [])])
    given = {name: value for name in INPUTS if name in args and (value := getattr(args, name)) is not None}
    if "classes" in given:
        given["classes"] = [name.strip() for name in given["classes"].split(",") if name.strip()]
    _take_older_name(given)
    settings = {name: _setting(name, value) for name in SETTINGS if name in args and (value := getattr(args, name))}
    cache = (args.cache or not args.no_cache) if "cache" in args else False
    common: dict[str, Any] = {"cache": cache, "progress": progress or TerminalProgress(), **given, **settings}
    with Session(*paths, **common) as session:
        yield session
        if session.context.store is not None:
            remark(session.context.store.remarks)


def settings_words(args: argparse.Namespace) -> list[str]:
    """The settings given on the command line, as the words of an equivalent command line."""
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name, None) is not None}
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def check_one_source(args: argparse.Namespace) -> None:
    """Raise DatasetError if --images is given together with --dataset and cannot be the folder of its images."""
    is_folder = args.dataset_images is None and len(args.images) == 1 and args.images[0].is_dir()
    if args.dataset is not None and args.images and not is_folder:
        raise DatasetError("A dataset has its own images: give their folder with --dataset-images DIR.")


def _take_older_name(given: dict[str, Any]) -> None:
    """Accept `--images DIR` together with `--dataset` as the older name of `--dataset-images`, with a note."""
    images = given.get("images", [])
    if given.get("dataset") and "dataset_images" not in given and len(images) == 1 and images[0].is_dir():
        given["dataset_images"] = given.pop("images")[0]
        remark(["With --dataset, --images DIR is now called --dataset-images; the older name will be removed."])


def _setting(name: str, value: Any) -> Any:
    return value.split(",") if name in ("mean", "std") else value


class TerminalProgress(Progress):
    """Shows the step, the number of finished items and the time left on standard error, if that is a terminal."""

    def __init__(self) -> None:
        self._text, self._time_left = "", TimeLeft()

    def step(self, text: str) -> None:
        self._text, self._time_left = f"{text}: ", TimeLeft()

    def advance(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        seconds = self._time_left.after(done, total)
        left = "" if seconds is None or done >= total else f", {duration(seconds)} left"
        end = "\n" if done >= total else ""
        print(f"\r{self._text}{done} / {total}{left}\x1b[K", end=end, file=sys.stderr, flush=True)
        if done >= total:
            self._time_left = TimeLeft()  # the next step starts its own estimate


def remark_warnings(warnings: Iterable[Warning]) -> None:
    """Print lint warnings on standard error, except those that are only advice: only `qviz info` prints these."""
    remark([f"{warning.message} {warning.cure}" for warning in warnings if not warning.advice])


def remark(sentences: list[str] | tuple[str, ...]) -> None:
    """Print sentences on standard error, apart from the result."""
    for sentence in sentences:
        print(f"qviz: {sentence}", file=sys.stderr)
