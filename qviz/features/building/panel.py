"""Build a variant of the reference in the browser. The new variant is added to the session's models at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.errors import QuantizeError, QvizError, SettingsError
from qviz.features.building import quantize
from qviz.features.building.calibration import DEFAULT_METHOD, METHODS, Calibration
from qviz.features.building.conditions import check
from qviz.features.building.cures import CURES, check_cures, cures_of, fitting_cures
from qviz.features.building.panel_images import LOADED, choose_images
from qviz.features.building.recipes import ALGORITHMS, BLOCKS, RECIPES, Algorithm, Options, Recipe
from qviz.features.building.result import Built
from qviz.features.building.source import source_of
from qviz.features.detection.models import LoadedModel, ModelSource
from qviz.formatting import megabytes, plural
from qviz.job import Job
from qviz.limits import limits
from qviz.structures import EncodedImage, digest_of
from qviz.structures.operators import orders_text, parse_orders
from qviz.tflite.unfold import FOLDED
from qviz.ui import clicks, jobs, page, projects, requested, workspace
from qviz.ui.jobs import Work
from qviz.ui.page import Page
from qviz.ui.workspace import Workspace

MAX_TEXT = 500
MAX_ORDERS_TEXT = 20
"""Maximum number of characters for operator numbers in a variant's name."""
USUAL_IMAGES = 50
"""The form advises to use more images if there are fewer calibration images than this."""
FLOAT_IO = "float"
_ORDERS = re.compile(r"[0-9]+(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose to build. ranges: method in `METHODS`; cures: names in `building.cures.CURES`."""

    recipe: Recipe
    options: Options
    ranges: str = DEFAULT_METHOD
    images: tuple[EncodedImage, ...] = field(default=(), repr=False)
    cures: tuple[str, ...] = ()

    @property
    def needs_images(self) -> bool:
        """Whether the recipe, the algorithm or a cure reads images."""
        return bool(self.cures) or _needs_images(self.recipe, ALGORITHMS[self.options.algorithm])

    def name(self, reference: str) -> str:
        """File name of the variant: the reference's name, the recipe, and what differs from the defaults.

        The name has no commas, because commas separate names in URLs.
        """
        parts = [self.options.algorithm] if self.options.algorithm != "minmax" else []
        parts += [f"{self.options.io} in and out"] if self.options.io != FLOAT_IO else []
        if self.recipe.needs_calibration and self.ranges != DEFAULT_METHOD:
            parts.append(self.ranges.replace("_", " "))
        chosen = self.options
        parts += [cure.replace("_", " ") for cure in self.cures]
        parts += [_operators_text(chosen.keep_orders, chosen.keep_float, "float")] if chosen.keeps_float else []
        parts += [_operators_text(chosen.wide_orders, chosen.wide, "in 16 bits")] if chosen.widens else []
        more = f" ({'; '.join(parts)})" if parts else ""
        return f"{reference.removesuffix('.tflite')} + {self.recipe.name}{more}.tflite"


def _operators_text(orders: tuple[int, ...], names: tuple[str, ...], kind: str) -> str:
    numbers = orders_text(orders).replace(",", " ")
    return f"{numbers if numbers and len(numbers) <= MAX_ORDERS_TEXT and not names else 'some'} {kind}"


def _needs_images(recipe: Recipe, algorithm: Algorithm) -> bool:
    return recipe.needs_calibration or algorithm.needs_images


def _form(here: Page) -> Choice:
    """Draw the form; returns what is chosen in it. Raises ImageError, SettingsError."""
    first, second, third = st.columns([2, 2, 2])
    recipe = RECIPES[
        first.selectbox(
            "Recipe", RECIPES, index=list(RECIPES).index("int8"), key="build-recipe", persist_state="session"
        )
    ]
    fitting = [algorithm for algorithm in ALGORITHMS.values() if recipe.scheme in algorithm.schemes]
    names = [algorithm.name for algorithm in fitting if algorithm.blockwise or not recipe.blockwise]
    algorithm = ALGORITHMS[second.selectbox("Weights' scales", names, key="build-algorithm", persist_state="session")]
    io = _io(third, recipe)
    page.small_text(f"{recipe.description} {recipe.limitation}")
    if algorithm.name != "minmax":
        page.small_text(f"{algorithm.name}: {algorithm.description}")
    cures = _cures(recipe)
    needs_images = bool(cures) or _needs_images(recipe, algorithm)
    ranges, images = _calibration(here, recipe) if needs_images else (DEFAULT_METHOD, ())
    left, right = st.columns([4, 2])
    orders, expressions = parse_operators(_keep_text(left))
    block = (
        right.selectbox("Inputs that share a scale", BLOCKS, key="build-block", persist_state="session")
        if recipe.blockwise
        else BLOCKS[0]
    )
    wide_orders, wide = parse_operators(_wide_text(right)) if recipe.activation_bits == 8 else ((), ())
    options = Options(io, algorithm.name, expressions, orders, block, wide, wide_orders)
    return Choice(recipe, options, ranges, images, cures)


def _cures(recipe: Recipe) -> tuple[str, ...]:
    """The cures that the user chooses, of those that fit the recipe."""
    chosen = st.multiselect(
        "Cures",
        fitting_cures(recipe),
        format_func=lambda name: name.replace("_", " "),
        placeholder="Changes that need no labels",
        key="build-cures",
        persist_state="session",
    )
    for name in chosen:
        page.small_text(f"{name.replace('_', ' ')}: {CURES[name]}.")
    return cures_of(chosen)


def _io(column: DeltaGenerator, recipe: Recipe) -> str:
    if len(recipe.io) < 2:
        return FLOAT_IO
    return str(column.selectbox("Inputs and outputs", recipe.io, key="build-io", persist_state="session"))


def _keep_text(column: DeltaGenerator) -> str:
    return column.text_input(
        "Keep in float",
        max_chars=MAX_TEXT,
        placeholder="0-12, 40, or parts of tensor names: BoxPredictor",
        help="Operators of the reference: numbers as on the Layers page, or parts of the names of their outputs.",
        key="build-keep",
        persist_state="session",
    )


def _wide_text(column: DeltaGenerator) -> str:
    return column.text_input(
        "16-bit activations",
        max_chars=MAX_TEXT,
        placeholder="0-17",
        help="Operators of the reference, as on the left. Few of them often suffice: the first ones, or the head.",
        key="build-wide",
    )


def parse_operators(text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Split the text of a form's field: (operator numbers, regular expressions that match exactly the given names).

    Names are escaped, because a user's own regular expression could block the server. Raises SettingsError.
    """
    orders: set[int] = set()
    names = []
    for word in filter(None, re.split(r"[,\s]+", text)):
        if not _ORDERS.fullmatch(word):
            names.append(re.escape(word))
            continue
        try:
            orders |= parse_orders(word)
        except SettingsError as error:
            raise SettingsError(
                f"{word[:30]} is not a range of operators; give e.g. 0-12, from lower to higher."
            ) from error
    return tuple(sorted(orders)), tuple(names)


def _calibration(here: Page, recipe: Recipe) -> tuple[str, tuple[EncodedImage, ...]]:
    """(method that computes the ranges, images on which they are measured), as chosen. Raises ImageError."""
    left, right = st.columns([3, 2])
    ranges = DEFAULT_METHOD
    if recipe.needs_calibration:
        ranges = right.selectbox(
            "Activation ranges", METHODS, format_func=METHODS.__getitem__, key="build-method", persist_state="session"
        )
    name, images = choose_images(here, left, "build")
    if name == LOADED:
        page.small_text("Measured on its own calibration images, a variant looks slightly better than it is.")
    if 0 < len(images) < USUAL_IMAGES:
        page.small_text(f"{plural(len(images), 'image')}; {USUAL_IMAGES} to 500 representative ones are more reliable.")
    return ranges, images


STATE = "qviz_new_variant"


@dataclass(slots=True, eq=False)
class NewVariant:
    """The variant that was requested last in this project.

    Attributes:
        reference: Digest of the model that the variant is made from.
        begin: Starts the job that makes the variant, also again after an error or a cancellation.
        name: Name of the variant's file.
        digest: Digest of the variant's file; empty until it is one of the session's models.
    """

    reference: str
    begin: Callable[[], Job[Any]]
    name: str = ""
    digest: str = ""
    job: Job[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.begin_again()

    def begin_again(self) -> None:
        self.job = self.begin()


@st.cache_resource(show_spinner=False)
def _measured_ranges() -> LRUCache[Calibration]:
    """Cache of ranges by source, images and method, because one calibration serves every recipe."""
    return LRUCache(16)


def refusal(reference: LoadedModel, choice: Choice) -> str:
    """The reason why the choice cannot be built; empty if it can. Only checks; runs nothing."""
    try:
        check(choice.recipe, source_of(reference).graph, choice.options)
        if choice.images:
            check_cures(choice.cures, choice.recipe, len(choice.images))
    except QuantizeError as error:
        return str(error)
    if choice.needs_images and not choice.images:
        return "Choose calibration images first: 50 to 500 representative ones."
    return ""


def start(reference: LoadedModel, choice: Choice) -> NewVariant:
    """Start building, or share the job of another session that builds the same variant. Raises QuantizeError."""
    source = source_of(reference)
    images = choice.images if choice.needs_images else ()
    ranges_key = (source.float_digest, source.settings, tuple(image.digest for image in images), choice.ranges)
    cache = _measured_ranges()

    def build(context: Context) -> Built:
        built = quantize(
            context,
            source,
            choice.recipe.name,
            calibration=images,
            measured=None if choice.cures else cache.find(ranges_key),  # a cure may change the network
            ranges=choice.ranges,
            options=choice.options,
            cures=choice.cures,
        )
        if built.ranges is not None and not choice.cures:
            cache.put(ranges_key, built.ranges)
        return built

    key = (ranges_key, choice.recipe.name, choice.options, choice.cures)
    begin = partial(jobs.restart, "build", key, build, "Starting", "images", work=_work(reference, choice))
    return NewVariant(reference.digest, begin, choice.name(reference.name))


def _work(reference: LoadedModel, choice: Choice) -> Work:
    images = len(choice.images) if choice.needs_images else 0
    subject = jobs.subject_of(reference.digest, choice.recipe.name, choice.options.algorithm, choice.cures)
    return Work(subject, max(images, 1), choice.recipe.name)


def show(here: Page) -> None:
    """Draw the form, the progress and the result."""
    reference = here.loaded.reference
    page.verdict(
        "Build a variant of the reference and compare it at once.",
        f"From {reference.name}{unfolding_remark(reference)}, by TensorFlow's converter or litert-quantizer.",
    )
    try:
        _draw_form(here, reference)
        new: NewVariant | None = requested.last(STATE)
        if new is not None and new.reference == reference.digest:
            follow(here, new)
    except QvizError as error:
        st.text(str(error))


def unfolding_remark(reference: LoadedModel) -> str:
    """`, dequantized from float16 to float32 first` where the reference has compressed weights; else empty."""
    return f", dequantized from {reference.scheme} to float32 first" if reference.scheme in FOLDED else ""


def _draw_form(here: Page, reference: LoadedModel) -> None:
    try:
        choice = _form(here)
    except QvizError as error:
        st.text(str(error))
        return
    problem = refusal(reference, choice) or full(here.workspace)
    if problem:
        st.text(problem)
    elif time := jobs.expected_time("build", _work(reference, choice)):
        page.small_text(time)

    def begin() -> None:
        requested.keep(STATE, start(reference, choice))

    clicks.button(st, "Build and compare", begin, "build-start", disabled=bool(problem), type="primary")


def follow(here: Page, new: NewVariant) -> None:
    """Show the progress of a variant; when it is built, add it to the session's models."""
    if not jobs.wait(new.job, "build", new.begin_again):
        return
    built: Built = new.job.future.result()
    if not new.digest:
        new.digest = join(built.data, new.name)
        st.rerun()
    model = joined_model(here, new)
    if model is not None:
        _show_built(here, model, built)


def full(current: Workspace) -> str:
    """The reason why no further model can be added to the session; empty if one can."""
    max_models = limits().session_models
    if len(current.models) < max_models:
        return ""
    return f"{plural(max_models, 'model')} are loaded, which is the limit; remove one on the Overview first."


def join(data: bytes, name: str) -> str:
    """Add a file to the session's models, unless it is one of them already, and return its digest."""
    digest = digest_of(data)
    current = workspace.current()
    if digest not in {source.digest for source in current.models}:
        source = ModelSource(_free_name(name, current), data, digest=digest)
        projects.saved(workspace.keep(current.with_models([source])))  # now, for other pages that show the same build
    return digest


def _free_name(name: str, current: Workspace) -> str:
    """The name, with a number appended if another file of the session has it already."""
    names, stem, number = {source.name for source in current.models}, name.removesuffix(".tflite"), 2
    while name in names:
        name, number = f"{stem} {number}.tflite", number + 1
    return name


def joined_model(here: Page, new: NewVariant) -> LoadedModel | None:
    """The variant among the session's models; None if it was removed."""
    model = next((model for model in here.loaded.all if model.digest == new.digest), None)
    if model is None and projects.is_outdated():
        st.rerun()  # another page has just added it
    return model


def _show_built(here: Page, model: LoadedModel, built: Built) -> None:
    share = model.bytes / here.loaded.reference.bytes
    ranges = built.ranges
    images = f" Ranges from {plural(ranges.images, 'image')}." if ranges is not None else ""
    sentences = [
        f"{model.name} is loaded: {built.scheme}, {megabytes(model.bytes)} ({share:.0%} of the reference),"
        f" built by {built.builder} in {built.seconds:.1f} s.{images}",
        *built.changes,
        built.remark,
        *(ranges.skipped if ranges is not None else ()),
    ]
    for sentence in filter(None, sentences):
        page.small_text(sentence)
    links(here, model, built.data, "app.py", "See it on the Overview →", "build-download")
    if built.stayed_float:
        with st.expander(f"{plural(len(built.stayed_float), 'tensor')} stayed in float"):
            st.dataframe(built.to_frame(), hide_index=True, width="stretch")


def links(here: Page, model: LoadedModel, data: bytes, target: str, label: str, key: str) -> None:
    """Draw links to the pages that show a variant of the session, and a button to download its file."""
    first, second, third = st.columns([2, 2, 2], vertical_alignment="center")
    shown: dict[str, Any] = {} if model is here.loaded.reference else {"variants": (here.loaded.name(model),)}
    page.link("pages/compare.py", "Compare it, image by image →", first, **shown)
    page.link(target, label, second, **shown)
    third.download_button("Download the file", data, model.name, "application/octet-stream", on_click="ignore", key=key)
