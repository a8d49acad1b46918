"""The form of "Build a variant": recipe, algorithm, types, calibration images, what stays float.

Names of operators are searched as they are written: a regular expression from outside could hold up the server.

The choice of images to calibrate with: the sample's views, those of the session, or others that are dropped.
"""

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
from qviz.features.what_if.sets import orders_text, parse_orders
from qviz.structures import EncodedImage
from qviz.ui import sample
from qviz.ui.page import Page

LOADED = "Loaded images"
OTHER = "Other images"


def choose(
    here: Page, place: DeltaGenerator, key: str, label: str = "Calibration images"
) -> tuple[str, tuple[EncodedImage, ...]]:
    """The way chosen and its images. key: the widgets' keys begin with it. Raises ImageError."""
    ways = _ways(here)
    way = place.segmented_control(label, ways, default=next(iter(ways)), key=f"{key}-images") or ""
    if way == LOADED:
        return way, here.workspace.images
    if way == OTHER:
        return way, _dropped(key)
    return way, tuple(_views()) if way else ()


def usual(here: Page) -> tuple[EncodedImage, ...]:
    """Those that are chosen where nobody chose: the sample's calibration views, or the loaded images."""
    return tuple(_views()) if here.workspace.is_sample and _views() else here.workspace.images


def _ways(here: Page) -> list[str]:
    ways = [LOADED] if here.workspace.images else []
    if here.workspace.is_sample:
        ways.insert(0, f"The sample's {len(_views())} calibration views")
    return [*ways, OTHER]


@st.cache_resource(show_spinner=False)
def _views() -> list[EncodedImage]:
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
        raise ImageError(f"{name} is no image and no zip archive of images.")
    return [EncodedImage(name, data)]


KEEP = "qviz_build_keep"
"""Another page may leave operators here, as `0-12,40`, before it leads to this one."""
MOST_TEXT = 500
MOST_NAMED = 20
FEW = 50
FLOAT_IO = "float"
_ORDERS = re.compile(r"[0-9]+(-[0-9]+)?")
METHODS_TOLD = {
    "minmax": "smallest and largest value seen",
    "moving_average": "moving average over the images",
    "percentile": "99.99% of the values",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What to build. method: how the images' ranges are summed up."""

    recipe: Recipe
    options: Options
    method: str = METHODS[0]
    images: tuple[EncodedImage, ...] = field(default=(), repr=False)

    @property
    def needs_images(self) -> bool:
        """Something about the activations has to be known."""
        return wants_images(self.recipe, ALGORITHMS[self.options.algorithm])

    def name(self, reference: str) -> str:
        """The variant's file name: the reference's and what was done. Without commas, which part names in URLs."""
        said = [self.options.algorithm] if self.options.algorithm != "minmax" else []
        said += [f"{self.options.io} in and out"] if self.options.io != FLOAT_IO else []
        said += [self.method.replace("_", " ")] if self.recipe.needs_calibration and self.method != METHODS[0] else []
        said += [_in_float(self.options)] if self.options.keeps else []
        stem = reference.removesuffix(".tflite")
        more = f" ({'; '.join(said)})" if said else ""
        return f"{stem} + {self.recipe.name}{more}.tflite"


def _in_float(options: Options) -> str:
    orders = orders_text(options.keep_orders).replace(",", " ")
    return f"{orders} float" if orders and len(orders) <= MOST_NAMED and not options.keep_float else "some float"


def wants_images(recipe: Recipe, algorithm: Algorithm) -> bool:
    """Whether the builder has to see images."""
    return recipe.needs_calibration or algorithm.needs_images


def form(here: Page) -> Choice:
    """Draw it. Raises ImageError, SettingsError."""
    first, second, third = st.columns([2, 2, 2])
    recipe = RECIPES[first.selectbox("Recipe", RECIPES, index=list(RECIPES).index("int8"), key="build-recipe")]
    fitting = [algorithm for algorithm in ALGORITHMS.values() if recipe.scheme in algorithm.schemes]
    names = [algorithm.name for algorithm in fitting if algorithm.blockwise or not recipe.blockwise]
    algorithm = ALGORITHMS[second.selectbox("Weights' scales", names, key="build-algorithm")]
    io = _io(third, recipe)
    _note(recipe.describe, recipe.cannot)
    if algorithm.name != "minmax":
        _note(f"{algorithm.name}: {algorithm.describe}")
    method, images = _calibration(here, recipe) if wants_images(recipe, algorithm) else (METHODS[0], ())
    left, right = st.columns([4, 2])
    orders, names_kept = kept_in_float(_keep_text(left))
    block = right.selectbox("Inputs that share a scale", BLOCKS, key="build-block") if recipe.blockwise else BLOCKS[0]
    return Choice(recipe, Options(io, algorithm.name, names_kept, orders, block), method, images)


def _note(*sentences: str) -> None:
    st.html(f'<p class="qviz qviz-note">{escape(" ".join(filter(None, sentences)))}</p>')


def _io(column: st.delta_generator.DeltaGenerator, recipe: Recipe) -> str:
    if len(recipe.io) < 2:
        return FLOAT_IO
    return str(column.selectbox("Inputs and outputs", recipe.io, key="build-io"))


def _keep_text(column: st.delta_generator.DeltaGenerator) -> str:
    return column.text_input(
        "Keep in float",
        value=st.session_state.get(KEEP, ""),
        max_chars=MOST_TEXT,
        placeholder="0-12, 40, or parts of tensor names: BoxPredictor",
        help="Operators of the reference, by order as the Layers page counts them, or by part of their output's name.",
        key="build-keep",
    )


def kept_in_float(text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Orders, and names as regular expressions that match just them. Raises SettingsError."""
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
                f"{word[:30]} is no range of operators; give e.g. 0-12, from lower to higher."
            ) from error
    return tuple(sorted(orders)), tuple(names)


def _calibration(here: Page, recipe: Recipe) -> tuple[str, tuple[EncodedImage, ...]]:
    """The images that ranges are measured on, and how those are summed up. Raises ImageError."""
    left, right = st.columns([4, 2])
    method = METHODS[0]
    if recipe.needs_calibration:
        method = right.selectbox(
            "Range of an activation", METHODS, format_func=METHODS_TOLD.__getitem__, key="build-method"
        )
    way, images = choose(here, left, "build")
    if way == LOADED:
        _note("A variant calibrated on the images that it is judged by looks a little better than it is.")
    if 0 < len(images) < FEW:
        _note(f"{len(images)} images; {FEW} to 500 that look like those in use give steadier ranges.")
    return method, images
