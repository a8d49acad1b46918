"""The sweep of the Robustness page: what is swept, the wait for it, and its verdict.

Sweeps under way, for all sessions of this server. They go on when the page is left, and can be stopped.

Detections are kept as they come, so a sweep that was stopped goes on where it ended.

What the slider of the Robustness page moves: light by a free amount, or a corruption by its severity.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import REFERENCE, variant_colour
from qviz.corruptions import CORRUPTIONS, SEVERITIES
from qviz.errors import Cancelled, ImageError, QvizError
from qviz.features.corruption_sweep import ALARM_IMAGES, RobustnessReport, report
from qviz.features.corruption_sweep.out_of_range import OutOfRange, out_of_range
from qviz.features.corruption_sweep.plot import severity_curves
from qviz.features.corruption_sweep.result import Robustness
from qviz.features.corruption_sweep.saturation import Explanation, explained
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import panel as layers
from qviz.formatting import duration
from qviz.progress import TimeLeft
from qviz.structures import AppliedCorruption, Dataset, DatasetImage, EncodedImage
from qviz.ui import clicks, dataset_choice, page, server
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page
from qviz.ui.server import Models

LAYER_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What is swept: the source's digest, how many of its images, what befalls them, and which models see them."""

    source: str
    images: int
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    models: tuple[str, ...]


@dataclass(slots=True, eq=False)
class SweepJob:
    """Looked at by the page, run by a thread of its own. partial: what is known so far."""

    asked: Asked
    total: int
    done: int = 0
    seconds_left: float | None = None
    partial: Robustness | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[RobustnessReport] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, models: Sequence[LoadedModel], dataset: Dataset) -> RobustnessReport:
        """In its thread. Raises Cancelled, DatasetError, QvizError."""
        self._left = TimeLeft()
        return report(
            server.engine(), models, dataset, self.asked.corruptions, self.asked.severities,
            on_progress=self.report, store=server.kept_detections(), cancel=self.cancel, watch=self.watch,
            layer_images=LAYER_IMAGES, alarm_images=0,
        )  # fmt: skip

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def watch(self, found: Robustness) -> None:
        self.partial = found

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if self.done >= self.total:
            return "Judging, and watching the layers' ranges"
        said = f"{self.done} of {self.total} shifted images"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[SweepJob]:
    return LRUCache(16)


@st.cache_resource(show_spinner=False)
def _alarms() -> LRUCache[Future[OutOfRange]]:
    return LRUCache(32)


@st.cache_resource(show_spinner=False)
def _causes() -> LRUCache[Future[Explanation]]:
    return LRUCache(64)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3, thread_name_prefix="qviz-robustness")


def _key(models: Sequence[LoadedModel]) -> tuple[object, ...]:
    return tuple(model.identity for model in models)


def spread(dataset: Dataset, most: int) -> Dataset:
    """At most so many images of a dataset, evenly; its name says so."""
    images = dataset.images
    if len(images) <= most:
        return dataset
    return replace(dataset, images=tuple(images[i * len(images) // most] for i in range(most)))


def sweep(found: Models, source: Source, asked: Asked) -> SweepJob:
    """Started once for the server."""
    models = [found.reference, *(v for v in found.variants if found.name(v) in asked.models)]
    dataset = spread(source.dataset, asked.images)

    def start() -> SweepJob:
        shifts = 1 + len(asked.corruptions) * len(asked.severities)
        job = SweepJob(asked, len(dataset.images) * shifts)
        job.future = _threads().submit(job.run, models, dataset)
        return job

    return _jobs().get((asked, _key(models)), start)


def begin_anew(found: Models, asked: Asked) -> None:
    """One that was stopped or has failed starts again when the page asks for it next."""
    models = [found.reference, *(v for v in found.variants if found.name(v) in asked.models)]
    _jobs().forget((asked, _key(models)))


def alarm(found: Models, variant: LoadedModel, source: Source) -> Future[OutOfRange]:
    """Which images drive the network out of the variant's ranges, started once for the server."""
    images = spread(source.dataset, ALARM_IMAGES).images

    def start() -> Future[OutOfRange]:
        def read() -> OutOfRange:
            return out_of_range(server.engine(), found.reference, variant, _encoded(images), total=len(images))

        return _threads().submit(read)

    return _alarms().get((source.digest, _key([found.reference, variant])), start)


def cause(
    found: Models, variant: LoadedModel, source: Source, asked: Asked, shift: AppliedCorruption, layers: Sequence[int]
) -> Future[Explanation]:
    """Whether these layers explain the loss under a shift, started once for the server."""
    images = list(_encoded(spread(source.dataset, min(asked.images, 12)).images))
    pair = found.reference, variant

    def start() -> Future[Explanation]:
        return _threads().submit(explained, server.engine(), *pair, images, shift, layers)

    return _causes().get((source.digest, asked.images, _key(pair), shift, tuple(layers)), start)


def _encoded(images: Sequence[DatasetImage]) -> list[EncodedImage]:
    read = []
    for image in images:
        try:
            read.append(image.encoded())
        except ImageError:
            continue  # the sweep says so
    return read


@dataclass(frozen=True, slots=True)
class Kind:
    """One slider. amounts: shown as pictures and points of the curve; neutral: the one that changes nothing."""

    name: str
    label: str
    amounts: tuple[float, ...]
    step: float
    neutral: float
    unit: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        return self.amounts[0], self.amounts[-1]

    def under(self, image: EncodedImage, amount: float) -> EncodedImage:
        """The image as the slider leaves it."""
        return image.under(None if amount == self.neutral else AppliedCorruption(self.name, amount))

    def text(self, amount: float) -> str:
        """`-1.5 stops`, `clean`, `severity 3`."""
        if amount == self.neutral:
            return "clean"
        return f"severity {amount:g}" if self.name in CORRUPTIONS else f"{amount:+g} {self.unit}".strip()


_FREE = (
    Kind("exposure", "Exposure", (-4, -3, -2, -1.5, -1, -0.5, 0, 1, 2), 0.25, 0, "stops", "Half the light a stop."),
    Kind(
        "gamma", "Gamma", (0.3, 0.5, 0.7, 1, 1.4, 1.8, 2.2, 2.6, 3), 0.1, 1, "",
        "Above 1 darkens the midtones, below 1 lifts them.",
    ),
    Kind(
        "temperature", "Colour temperature", (-3500, -2500, -1500, -500, 0, 1000, 2500, 4000, 5500), 250, 0, "K",
        "From daylight: negative is warmer, positive is cooler.",
    ),
)  # fmt: skip


def title(corruption: str) -> str:
    """`exposure_down` as it is shown."""
    return corruption.replace("_", " ").capitalize()


KINDS: dict[str, Kind] = {kind.name: kind for kind in _FREE} | {
    row.name: Kind(row.name, title(row.name), (0, *SEVERITIES), 1, 0, "severity", row.description)
    for row in CORRUPTIONS.values()
}


BEAT = 0.5
ASKED = "qviz_robustness_asked"
USUAL = ("exposure_down", "contrast", "glare", "night")
SEVERITIES_USUAL = (1, 3, 5)
IMAGES_USUAL = 12


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A sweep that is done, what was asked, and how its models are named and coloured, by the files' names."""

    report: RobustnessReport
    asked: Asked
    source: Source
    names: dict[str, str]
    colours: dict[str, str]


def sources(here: Page) -> dict[str, Source]:
    """What can be swept, by digest; the sample's scenes first: they have enough objects for intervals."""
    known = dataset_choice.sources(here)
    order = sorted(known, key=lambda name: ("scenes", "annotations", dataset_choice.REFERENCE).index(name))
    return {known[name].digest: known[name] for name in order}


def ask(here: Page, known: dict[str, Source]) -> tuple[Source, Asked | None]:
    """The form. The data, and what was asked last of it, if anything."""
    assert here.models is not None, "pages without a model stop before"
    found = here.models
    names = [found.name(variant) for variant in found.variants]
    first, second, third = st.columns([3, 4, 2], vertical_alignment="bottom")
    digest = first.selectbox(
        "On", list(known), format_func=lambda name: known[name].label, key="robustness-source",
        help="AP where objects are annotated; else agreement with what the reference finds on the clean images.",
    )  # fmt: skip
    source = known[digest] if digest in known else next(iter(known.values()))
    most = len(source.dataset.images)
    variants = second.pills(
        "Variants",
        names,
        selection_mode="multi",
        default=layers.usual(found, here.view.variants),
        key="robustness-variants",
        wrap=True,
    )
    images = third.number_input(
        "Images", 1, most, min(IMAGES_USUAL, most), key=f"robustness-images-{most}", help=f"Evenly out of {most}."
    )
    left, middle, right = st.columns([6, 2, 1], vertical_alignment="bottom")
    corruptions = left.multiselect(
        "Corruptions", list(CORRUPTIONS), default=list(USUAL), format_func=title, key="robustness-corruptions"
    )
    severities = middle.pills(
        "Severities", list(SEVERITIES), selection_mode="multi", default=list(SEVERITIES_USUAL), key="robustness-levels"
    )

    def begin() -> None:
        order = tuple(sorted(severities))
        st.session_state[ASKED] = Asked(source.digest, int(images), tuple(corruptions), order, tuple(variants or ()))

    told = _size(images, corruptions, severities)
    empty = not (corruptions and severities)
    clicks.button(right, "Run", begin, "robustness-run", disabled=empty, type="primary", width="stretch", help=told)
    asked: Asked | None = st.session_state.get(ASKED)
    return (known[asked.source], asked) if asked is not None and asked.source in known else (source, None)


def _size(images: int, corruptions: list[str], severities: list[int]) -> str:
    return f"{images * (1 + len(corruptions) * len(severities))} shifted images for each model."


def swept(here: Page, source: Source, asked: Asked) -> Finding | None:
    """The sweep, or None while it is under way or where it was stopped."""
    assert here.models is not None, "pages without a model stop before"
    job = sweep(here.models, source, asked)
    if not job.future.done():
        _waiting(here, job)
        return None
    error = job.future.exception()
    if isinstance(error, QvizError):
        st.text("The sweep was stopped; what was detected so far is kept." if job.stopped else str(error))
        again = partial(begin_anew, here.models, asked)
        clicks.button(st, "Go on" if job.stopped else "Try again", again, "robustness-again", st.rerun)
        return None
    found = job.future.result()
    return Finding(found, asked, source, *_shown(here, found.sweep))


def _shown(here: Page, found: Robustness) -> tuple[dict[str, str], dict[str, str]]:
    """Short names and colours by the models' names."""
    assert here.models is not None, "pages without a model stop before"
    names = {model.name: here.models.name(model) for model in here.models.all}
    colours = {variant.name: variant_colour(i) for i, variant in enumerate(here.models.variants)}
    colours = {here.models.reference.name: REFERENCE, **colours}
    for number, name in enumerate(found.models):  # two files of one name
        names.setdefault(name, name)
        colours.setdefault(name, variant_colour(number))
    return names, colours


@st.fragment(run_every=BEAT)
def _waiting(here: Page, job: SweepJob) -> None:
    """A bar and what is known so far; when all is there the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="robustness-cancel")
    found = job.partial
    if found is not None and found.corruptions:
        names, colours = _shown(here, found)
        figure = severity_curves(found, names, colours)
        st.plotly_chart(figure, width="stretch", key=f"robustness-partial-{len(found.corruptions)}")


def reminder(finding: Finding) -> str:
    """What the figures stand on."""
    found = finding.report.sweep
    what = (
        "AP (pycocotools), ×100, higher is better"
        if found.annotated
        else "Nothing is annotated: agreement with what the reference finds on the clean images, ×100"
    )
    return f"{found.dataset}: {found.images} images. {what}. Bands and brackets: 95% interval over the images."


def headline(finding: Finding) -> None:
    """The finding in a sentence, and what it stands on."""
    from qviz.features.corruption_sweep.text import robustness_verdict

    page.verdict(robustness_verdict(finding.report.sweep, finding.names), reminder(finding))
