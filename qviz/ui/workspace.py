"""What one session has loaded: models, images, annotations. Frozen, replaced whole, kept in session_state.

A plain widget loses its files on a page switch, so their bytes are copied here at once. Nothing here is shared between
sessions; what is cached for all is known by the sha256 of its bytes, so only who holds the bytes finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from qviz.features.detection.models import ModelSource
from qviz.features.reporting.study import Study
from qviz.limits import limits
from qviz.structures import Dataset, EncodedImage, Settings

KEY = "qviz_workspace"


@dataclass(frozen=True, slots=True, eq=False)
class Workspace:
    """models: in the order of loading. reference: digest of the one chosen by hand. notices: sentences not yet read.

    study: one that was saved, opened on the Report page.
    """

    models: tuple[ModelSource, ...] = ()
    images: tuple[EncodedImage, ...] = ()
    dataset: Dataset | None = None
    reference: str | None = None
    is_sample: bool = False
    notices: tuple[str, ...] = ()
    study: Study | None = None

    def with_models(self, added: Sequence[ModelSource]) -> Workspace:
        """Models put at the end; the same bytes are kept once, the newer settings win."""
        new = {source.digest: source for source in added}
        kept = [source for source in self.models if source.digest not in new]
        models = (*kept, *new.values())
        if len(models) > (most := limits().session_models):
            return replace(self, models=models[:most]).with_notices([f"Only {most} models are compared at once."])
        return replace(self, models=models)

    def with_images(self, added: Sequence[EncodedImage]) -> Workspace:
        """Images put in front, the newest first; the same bytes are kept once, equal names told apart."""
        digests = {image.digest for image in added}
        images = _distinct([*added, *(image for image in self.images if image.digest not in digests)])
        kept = _within_bounds(images)
        held = replace(self, images=tuple(images[:kept]))
        if kept == len(images):
            return held
        most = limits()
        bound = f"{most.session_images} images or {most.session_images_mb} MB of them"
        return held.with_notices([f"Only {kept} of {len(images)} images are kept: a session holds {bound}."])

    def with_notices(self, sentences: Sequence[str]) -> Workspace:
        """Sentences to show once, each only once."""
        return replace(self, notices=tuple(dict.fromkeys([*self.notices, *sentences])))

    def without_model(self, digest: str) -> Workspace:
        """Without one model; a reference chosen by hand falls back to the choice by scheme."""
        reference = None if self.reference == digest else self.reference
        return replace(self, models=tuple(m for m in self.models if m.digest != digest), reference=reference)

    def with_settings(self, digest: str, said: Settings) -> Workspace:
        """Other settings for one model."""
        models = tuple(replace(m, said=said) if m.digest == digest else m for m in self.models)
        return replace(self, models=models)

    def image_named(self, name: str | None) -> EncodedImage | None:
        """The image of that name."""
        return next((image for image in self.images if image.name == name), None)


def _within_bounds(images: Sequence[EncodedImage]) -> int:
    """How many of them, from the first, a session may hold."""
    most = limits()
    room = most.session_images_mb << 20
    for position, image in enumerate(images[: most.session_images]):
        room -= len(image.data)
        if room < 0:
            return position
    return min(len(images), most.session_images)


def _distinct(images: Sequence[EncodedImage]) -> list[EncodedImage]:
    """The same images once each; a name that is taken gets a number."""
    seen: dict[str, EncodedImage] = {}
    taken: set[str] = set()
    for image in images:
        if image.digest in seen:
            continue
        name, number = image.name, 2
        while name in taken:
            name, number = f"{image.name} ({number})", number + 1
        taken.add(name)
        seen[image.digest] = replace(image, name=name) if name != image.name else image
    return list(seen.values())


def current() -> Workspace:
    """This session's workspace; empty before the first page has opened one."""
    found: Workspace = st.session_state.get(KEY, Workspace())
    return found


def keep(workspace: Workspace) -> Workspace:
    """Make it this session's."""
    st.session_state[KEY] = workspace
    return workspace
