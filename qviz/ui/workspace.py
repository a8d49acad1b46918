"""What one session has loaded: models, images, annotations. Frozen, replaced whole, kept in session_state.

A plain widget loses its files on a page switch, so their bytes are copied here at once. Nothing here is shared between
sessions; what is cached for all is known by the sha256 of its bytes, so only who holds the bytes finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from qviz.analysis.models import ModelSource
from qviz.analysis.study import Study
from qviz.structures import Dataset, EncodedImage, Settings

KEY = "qviz_workspace"
MAX_MODELS = 8
MAX_IMAGE_BYTES = 2 << 30


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
        if len(models) > MAX_MODELS:
            models = models[:MAX_MODELS]
            return replace(self, models=models).with_notices([f"Only {MAX_MODELS} models are compared at once."])
        return replace(self, models=models)

    def with_images(self, added: Sequence[EncodedImage]) -> Workspace:
        """Images put in front, the newest first; the same bytes are kept once, equal names told apart."""
        digests = {image.digest for image in added}
        images = _distinct([*added, *(image for image in self.images if image.digest not in digests)])
        total = 0
        for position, image in enumerate(images):
            total += len(image.data)
            if total > MAX_IMAGE_BYTES:
                notice = f"Only {position} images are kept: together they pass {MAX_IMAGE_BYTES >> 30} GB."
                return replace(self, images=tuple(images[:position])).with_notices([notice])
        return replace(self, images=tuple(images))

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
