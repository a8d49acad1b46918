"""The form of "Build a variant", and the choice of calibration images, which other forms use too."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import PurePosixPath

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.datasets.files import is_image_name, load_images, unzip_images
from qviz.errors import ImageError, SettingsError
from qviz.features.building import ALGORITHMS, METHODS, RECIPES, Algorithm, Options, Recipe
from qviz.features.building.recipes import BLOCKS
from qviz.formatting import plural
from qviz.structures import EncodedImage
from qviz.structures.operators import orders_text, parse_orders
from qviz.ui import sample
from qviz.ui.page import Page

LOADED = "Loaded images"
OTHER = "Other images"


def choose(
    here: Page, container: DeltaGenerator, key: str, label: str = "Calibration images"
) -> tuple[str, tuple[EncodedImage, ...]]:
    """A choice between the sample's calibration views, the session's images and others that are dropped.

    key: the keys of the widgets begin with it. Returns the name of the choice and its images. Raises ImageError.
    """
    names = _choices(here)
    name = container.segmented_control(label, names, default=next(iter(names)), key=f"{key}-images") or ""
    if name == LOADED:
        return name, here.workspace.images
    if name == OTHER:
        return name, _dropped(key)
    return name, tuple(_sample_views()) if name else ()


def usual(here: Page) -> tuple[EncodedImage, ...]:
    """The images that are chosen by default: the sample's calibration views, or the loaded images."""
    return tuple(_sample_views()) if here.workspace.is_sample and _sample_views() else here.workspace.images


def _choices(here: Page) -> list[str]:
    names = [LOADED] if here.workspace.images else []
    if here.workspace.is_sample:
        names.insert(0, f"The sample's {plural(len(_sample_views()), 'calibration view')}")
    return [*names, OTHER]


@st.cache_resource(show_spinner=False)
def _sample_views() -> list[EncodedImage]:
    folder = sample.FOLDER / "calibration"
    return list(load_images([folder])) if folder.is_dir() else []


def _dropped(key: str) -> tuple[EncodedImage, ...]:
    with st.container(key=f"{key}-drop"):
        st.html(
            f'<style>.st-key-{key}-drop [data-testid="stFileUploaderDropzoneInstructions"]::after'
            ' { content: "Drop photos, or a zip of them" }</style>'
        )
        files = st.file_uploader("Photos", accept_multiple_files=True, key=f"{key}-files", label_visibility="collapsed")
    return tuple(image for file in files for image in _images_of(PurePosixPath(file.name).name, file.getvalue()))


def _images_of(name: str, data: bytes) -> list[EncodedImage]:
    if name.lower().endswith(".zip"):
        return unzip_images(name, data)
    if not is_image_name(name):
        raise ImageError(f"{name} is neither an image nor a zip archive of images.")
    return [EncodedImage(name, data)]


KEEP = "qviz_build_keep"
"""Another page may set operators here, as `0-12,40`, before it links to this one."""
MAX_TEXT = 500
MAX_ORDERS_TEXT = 20
"""Characters of operator numbers in a variant's name."""
USUAL_IMAGES = 50
"""With fewer calibration images the form advises more."""
FLOAT_IO = "float"
_ORDERS = re.compile(r"[0-9]+(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the form asks to build. ranges: how the images' ranges are summed up, a name of `METHODS`."""

    recipe: Recipe
    options: Options
    ranges: str = "minmax"
    images: tuple[EncodedImage, ...] = field(default=(), repr=False)

    @property
    def needs_images(self) -> bool:
        """Whether the recipe or the algorithm reads images."""
        return _needs_images(self.recipe, ALGORITHMS[self.options.algorithm])

    def name(self, reference: str) -> str:
        """File name of the variant: the reference's and what differs from the defaults.

        Without commas, which separate names in URLs.
        """
        parts = [self.options.algorithm] if self.options.algorithm != "minmax" else []
        parts += [f"{self.options.io} in and out"] if self.options.io != FLOAT_IO else []
        parts += [self.ranges.replace("_", " ")] if self.recipe.needs_calibration and self.ranges != "minmax" else []
        parts += [_float_operators_text(self.options)] if self.options.keeps_float else []
        more = f" ({'; '.join(parts)})" if parts else ""
        return f"{reference.removesuffix('.tflite')} + {self.recipe.name}{more}.tflite"


def _float_operators_text(options: Options) -> str:
    orders = orders_text(options.keep_orders).replace(",", " ")
    is_short = orders and len(orders) <= MAX_ORDERS_TEXT and not options.keep_float
    return f"{orders} float" if is_short else "some float"


def _needs_images(recipe: Recipe, algorithm: Algorithm) -> bool:
    return recipe.needs_calibration or algorithm.needs_images


def form(here: Page) -> Choice:
    """Draw it. Raises ImageError, SettingsError."""
    first, second, third = st.columns([2, 2, 2])
    recipe = RECIPES[first.selectbox("Recipe", RECIPES, index=list(RECIPES).index("int8"), key="build-recipe")]
    fitting = [algorithm for algorithm in ALGORITHMS.values() if recipe.scheme in algorithm.schemes]
    names = [algorithm.name for algorithm in fitting if algorithm.blockwise or not recipe.blockwise]
    algorithm = ALGORITHMS[second.selectbox("Weights' scales", names, key="build-algorithm")]
    io = _io(third, recipe)
    _note(recipe.description, recipe.limitation)
    if algorithm.name != "minmax":
        _note(f"{algorithm.name}: {algorithm.description}")
    ranges, images = _calibration(here, recipe) if _needs_images(recipe, algorithm) else ("minmax", ())
    left, right = st.columns([4, 2])
    orders, expressions = parse_operators(_keep_text(left))
    block = right.selectbox("Inputs that share a scale", BLOCKS, key="build-block") if recipe.blockwise else BLOCKS[0]
    return Choice(recipe, Options(io, algorithm.name, expressions, orders, block), ranges, images)


def _note(*sentences: str) -> None:
    st.html(f'<p class="qviz qviz-note">{escape(" ".join(filter(None, sentences)))}</p>')


def _io(column: DeltaGenerator, recipe: Recipe) -> str:
    if len(recipe.io) < 2:
        return FLOAT_IO
    return str(column.selectbox("Inputs and outputs", recipe.io, key="build-io"))


def _keep_text(column: DeltaGenerator) -> str:
    return column.text_input(
        "Keep in float",
        value=st.session_state.get(KEEP, ""),
        max_chars=MAX_TEXT,
        placeholder="0-12, 40, or parts of tensor names: BoxPredictor",
        help="Operators of the reference: numbers as on the Layers page, or parts of the names of their outputs.",
        key="build-keep",
    )


def parse_operators(text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Operator numbers, and names as regular expressions that match exactly them. Raises SettingsError.

    Names are escaped: a regular expression from outside could block the server.
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
    """How ranges are summed up, and the images that they are measured on. Raises ImageError."""
    left, right = st.columns([4, 2])
    ranges = "minmax"
    if recipe.needs_calibration:
        ranges = right.selectbox("Activation ranges", METHODS, format_func=METHODS.__getitem__, key="build-method")
    name, images = choose(here, left, "build")
    if name == LOADED:
        _note("Measured on its own calibration images, a variant looks slightly better than it is.")
    if 0 < len(images) < USUAL_IMAGES:
        _note(f"{plural(len(images), 'image')}; {USUAL_IMAGES} to 500 that look like those in use are more reliable.")
    return ranges, images
