"""A pytest plugin to test a variant against limits: `assert_quantized(REF, VARIANT, DATASET, max_ap_loss=0.01)`.

pytest loads this module through the entry point `pytest11`. The module imports no large package before a test calls it.
All calls in a pytest run share worker processes and the cache of detections, so a reference runs only once for all its
variants.

Each call adds its numbers to the test's properties (`--junitxml` writes them) and appends a page of Markdown to the
file that `--qviz-summary` names; on GitHub the default is the job summary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qviz.engine import Engine
    from qviz.features.accuracy import Evaluation
    from qviz.features.accuracy.gate import Gate, Measure
    from qviz.session import Session

PREFIX = "qviz/"
NAMES = {"ap": "AP", "keypoint_ap": "AP of keypoints", "mask_ap": "AP of masks", "recall": "Recall"}
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
NO_LIMIT = (
    "Give a limit: max_ap_loss, max_recall_loss, max_keypoint_ap_loss or max_mask_ap_loss, e.g. max_ap_loss=0.01 for"
    " one point of AP."
)


class QuantizationLoss(AssertionError):
    """A variant exceeds a limit, or the data cannot show that it stays within the limit."""


class _Run:
    """State that all calls in one pytest run share.

    Attributes:
        item: The test that is running.
        summary: The file to which summaries are appended; None if none are written.
        sarif: The file that gets the alerts of all calls at the end of the run; None if none is written.
        pictures: Folder for pictures of the worst images, with a subfolder for each call; None for no pictures.
        alerts: The SARIF runs of the calls so far.
    """

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.summary: Path | None = None
        self.sarif: Path | None = None
        self.pictures: Path | None = None
        self.alerts: list[dict[str, Any]] = []
        self._engine: Engine | None = None
        self._open = ExitStack()

    def engine(self) -> Engine:
        """The worker processes; the first call starts them."""
        if self._engine is None:
            from qviz.session_inputs import start_workers

            self._engine = self._open.enter_context(start_workers(None))
        return self._engine

    def close(self) -> None:
        self._open.close()
        self._engine = None


_run = _Run()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --qviz-summary FILE."""
    group = parser.getgroup("qviz", "gates for quantized detectors")
    group.addoption(
        "--qviz-summary",
        metavar="FILE",
        help=f"append a page of Markdown for each assert_quantized (default: the file in ${SUMMARY_VARIABLE}, if set)",
    )
    group.addoption("--qviz-sarif", metavar="FILE", help="write failed gates and warnings about files as SARIF")
    group.addoption(
        "--qviz-worst-images", metavar="FOLDER", help="write small pictures of the six worst images of each gate"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Determine the paths of the files to write from the options."""
    name = config.getoption("--qviz-summary") or os.environ.get(SUMMARY_VARIABLE)
    _run.summary, _run.sarif, _run.pictures = (
        Path(text) if text else None
        for text in (name, config.getoption("--qviz-sarif"), config.getoption("--qviz-worst-images"))
    )


def pytest_unconfigure() -> None:
    """Write the alerts and stop the worker processes."""
    if _run.sarif is not None:
        _run.sarif.write_text(json.dumps({"version": "2.1.0", "runs": _run.alerts}), encoding="utf-8")
    _run.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Remember which test is running, so that its properties can be set."""
    before, _run.item = _run.item, item
    try:
        return (yield)
    finally:
        _run.item = before


@pytest.fixture(scope="session")
def qviz_session() -> Iterator[Callable[..., Session]]:
    """A fixture that opens sessions, as `qviz.open` does, on the workers that all tests share.

    Call `qviz_session(REF, VARIANT..., images=..., dataset=...)`; the sessions are closed at the end of the run.
    """
    from qviz.session import Session

    with ExitStack() as sessions:

        def open_session(*models: Any, **options: Any) -> Session:
            return sessions.enter_context(Session(*models, **{"engine": _run.engine(), **options}))

        yield open_session


def assert_quantized(
    reference: str | os.PathLike[str],
    variant: str | os.PathLike[str],
    dataset: str | os.PathLike[str],
    *,
    max_ap_loss: float | None = None,
    max_recall_loss: float | None = None,
    max_keypoint_ap_loss: float | None = None,
    max_mask_ap_loss: float | None = None,
    at: float | str | os.PathLike[str] | Mapping[str, float] = "best",
    classes: Sequence[str] = (),
    slices: str | Sequence[str] | None = None,
    confident: str | None = None,
    strict: bool = False,
    dataset_images: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Evaluation:
    """Assert that a quantized variant loses no more than the limits allow on an annotated dataset.

    Args:
        reference, variant: .tflite files.
        dataset: Annotated images; `dataset_images` is their folder if they are not beside the file.
        max_ap_loss: Maximum loss of AP, in [0, 1].
        max_recall_loss: Maximum loss of recall at the confidence `at`, in [0, 1].
        max_keypoint_ap_loss, max_mask_ap_loss: Maximum loss of AP of keypoints or of masks, in [0, 1]; a variant that
            does not return them fails.
        at: The confidence threshold for recall: a number, `best` (where the reference's F1 is highest), a mapping label
            -> number, or a JSON file of such a mapping.
        classes: Names of the classes to which detections and annotations are limited; empty for all classes.
        slices: `all` or names of traits; the worst slice must stay within `max_recall_loss` as well.
        confident: The number that is compared with the limit. None: the loss itself. `lower`: the lower bound of its
            95 % interval, so that noise does not make a test fail. `upper`: the upper bound, so that a variant passes
            only if the data show that it stays within the limit.
        strict: Whether the test fails if the interval is too wide to decide.
        options: Arguments of `qviz.open`, e.g. labels, mean, std, threads.

    Returns:
        The evaluation, for further assertions.

    Raises:
        QuantizationLoss: A limit is exceeded, or the data cannot decide; the message then says how many images would
            be enough. It is an AssertionError.
        QvizError: A file cannot be used.

    Example:
        >>> assert_quantized("float32.tflite", "int8.tflite", "coco.json", max_ap_loss=0.01, confident="lower")
    """
    __tracebackhide__ = True
    from qviz.features.accuracy.gate import check_limits
    from qviz.session import Session

    limits: dict[Measure, float | None] = {
        "ap": max_ap_loss,
        "recall": max_recall_loss,
        "keypoint_ap": max_keypoint_ap_loss,
        "mask_ap": max_mask_ap_loss,
    }
    _check(limits, slices, confident)
    given = {"engine": _run.engine(), "classes": classes, **options}
    with Session(reference, variant, dataset=dataset, dataset_images=dataset_images, **given) as session:
        result = session.evaluate(at=at, slices=slices)
        worst = _worst_images(session)
    gates = check_limits(result, limits, confident, strict, slices is not None)
    _record(result, gates, worst, (Path(reference), Path(variant)))
    if faults := [text for gate in gates for text in _faults(gate)]:
        raise QuantizationLoss("\n".join([f"qviz: {result}", *faults]))
    return result


def _check(limits: Mapping[Measure, float | None], slices: object, confident: str | None) -> None:
    """Raise SettingsError for arguments that cannot be used, before a model runs."""
    from qviz.errors import SettingsError

    if all(limit is None for limit in limits.values()):
        raise SettingsError(NO_LIMIT)
    if slices is not None and limits["recall"] is None:
        raise SettingsError("slices are compared in recall: give max_recall_loss, e.g. max_recall_loss=0.02.")
    if confident not in (None, "lower", "upper"):
        raise SettingsError(f"confident is {confident!r}; give 'lower', 'upper' or None.")


def _worst_images(session: Session) -> str:
    """Write pictures of the worst images, if a folder is given, and return their table as Markdown; else empty."""
    from qviz.features.exporting import save_worst
    from qviz.features.exporting.text import worst_tables

    if _run.pictures is None:
        return ""
    _run.pictures.mkdir(parents=True, exist_ok=True)
    folder = _run.pictures / f"gate_{len(list(_run.pictures.iterdir())) + 1:02d}"
    return worst_tables(save_worst([session.export(model.name) for model in session.models[1:]], folder))


def _faults(gate: Gate) -> list[str]:
    """Why a gate fails or cannot conclude, and how many images would decide; empty if it passed."""
    from qviz.features.accuracy.power import limit_text

    if gate.status == 0:
        return []
    return [f"{NAMES[gate.measure]}, at most {limit_text(gate.limit)} lost: {gate.outcome}.", *gate.sentences]


def _record(result: Evaluation, gates: Sequence[Gate], worst: str, files: Sequence[Path]) -> None:
    """Set the test's properties, collect its alerts, and append its page of Markdown to the summary."""
    from qviz import __version__
    from qviz.features.accuracy.text import markdown
    from qviz.features.exporting.text_sarif import sarif

    if _run.item is not None:
        properties = _short_metrics(result)
        properties |= {f"{PREFIX}{gate.measure}_gate": gate.outcome for gate in gates}
        _run.item.user_properties.extend(properties.items())
    _run.alerts += sarif(result, gates, files, __version__)["runs"]
    if _run.summary is None:
        return
    with _run.summary.open("a", encoding="utf-8") as file:
        file.write("\n".join(filter(None, [markdown(result, *gates), worst])) + "\n")


def _short_metrics(result: Evaluation) -> dict[str, Any]:
    """The metrics over all classes together; `result.metrics()` also has those of each class."""
    return {name: value for name, value in result.metrics(PREFIX).items() if "per_class" not in name}
