"""The models, images and annotations loaded in one session: a frozen object in session_state, replaced as a whole.

An upload widget loses its files when the user switches pages, so the bytes of the files are copied to the workspace
immediately. Sessions do not share workspaces. They share caches, whose keys contain the sha256 of the bytes, so that
only a session with the same file can find an entry.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import streamlit as st

from qviz.features.detection.models import ModelSource
from qviz.features.reporting.study import Study
from qviz.formatting import plural
from qviz.limits import limits
from qviz.structures import Dataset, EncodedImage, Settings

KEY, DROPS = "qviz_workspace", "qviz_undo"
MAX_UNDO = 10
"""Maximum number of drops that can be undone."""


@dataclass(frozen=True, slots=True)
class EarlierModel:
    """A model that was removed or replaced by a newer file. removed: time of the removal, in seconds since 1970."""

    source: ModelSource
    removed: int


@dataclass(frozen=True, slots=True, eq=False)
class Workspace:
    """Everything that one session has loaded.

    Attributes:
        models: The models in the order in which they were loaded.
        images: The images, newest first.
        dataset: The annotated images that were dropped last.
        reference: Digest of the model that the user chose as the reference, or None.
        is_sample: Whether the models are the bundled ones.
        notices: Sentences about files that the user has not dismissed yet.
        study: A saved study that is open on the Report page.
        name: Name that the user gave to the project.
        earlier: Models that were removed or replaced, the latest first.
        quarantine: Digest -> reason, of models that crashed their worker process; they run again only if the user
            asks for it.
    """

    models: tuple[ModelSource, ...] = ()
    images: tuple[EncodedImage, ...] = ()
    dataset: Dataset | None = None
    reference: str | None = None
    is_sample: bool = False
    notices: tuple[str, ...] = ()
    study: Study | None = None
    name: str = ""
    earlier: tuple[EarlierModel, ...] = ()
    quarantine: Mapping[str, str] = field(default_factory=dict)

    def with_models(self, added: Sequence[ModelSource]) -> Workspace:
        """The workspace with models appended. If two models have the same bytes, only the new one remains."""
        new = {source.digest: source for source in added}
        models = (*(source for source in self.models if source.digest not in new), *new.values())
        max_models = limits().session_models
        if len(models) > max_models:
            notice = f"Only {plural(max_models, 'model')} can be compared at once."
            return replace(self, models=models[:max_models]).with_notices([notice])
        return replace(self, models=models)

    def with_images(self, added: Sequence[EncodedImage]) -> Workspace:
        """The workspace with images added at the front.

        If two images have the same digest, only one remains. A name that already occurs gets a number.
        """
        digests = {image.digest for image in added}
        images = _distinct([*added, *(image for image in self.images if image.digest not in digests)])
        count = _count_within_limits(images)
        workspace = replace(self, images=tuple(images[:count]))
        if count == len(images):
            return workspace
        bounds = limits()
        notice = (
            f"Only {count} of {len(images)} images were loaded: a session holds at most {bounds.session_images} images"
            f" and {bounds.session_images_mb} MB."
        )
        return workspace.with_notices([notice])

    def with_notices(self, sentences: Sequence[str]) -> Workspace:
        """The workspace with further notices, each sentence once."""
        return replace(self, notices=tuple(dict.fromkeys([*self.notices, *sentences])))

    def without_model(self, digest: str) -> Workspace:
        """The workspace without one model. If the user had chosen it as the reference, qviz chooses by scheme again.

        The model is added to the earlier ones, unless it is a bundled one.
        """
        reference = None if self.reference == digest else self.reference
        rest = replace(self, models=tuple(m for m in self.models if m.digest != digest), reference=reference)
        removed = [EarlierModel(m, int(time.time())) for m in self.models if m.digest == digest and not self.is_sample]
        others = (row for row in self.earlier if row.source.digest != digest)
        return replace(rest, earlier=(*removed, *others)[: limits().session_models])

    def with_replaced(self, added: Sequence[ModelSource]) -> Workspace:
        """Same as `with_models`, but a new model replaces a loaded one with the same file name.

        The replaced model becomes an earlier one. The new model gets the shown name and the role of the replaced one,
        and also its settings unless it has settings of its own.
        """
        names = {source.name: source for source in added}
        digests = {source.digest for source in added}
        current, new = self, list(added)
        for old in self.models:
            if old.digest in digests or (source := names.get(old.name)) is None:
                continue
            settings = source.settings if source.settings.given() else old.settings
            new[new.index(source)] = names[old.name] = replace(source, settings=settings, shown=old.shown)
            reference = source.digest if self.reference == old.digest else current.reference
            current = replace(current.without_model(old.digest), reference=reference)
            current = current.with_notices(
                [
                    f"{old.name} was replaced by the file that you just dropped. The earlier one is on Overview,"
                    " under Models."
                ]
            )
        return current.with_models(new)

    def with_earlier(self, digest: str) -> Workspace:
        """The workspace with an earlier model loaded again, under a name that says when it was removed."""
        row = next(row for row in self.earlier if row.source.digest == digest)
        source, names = row.source, {model.name for model in self.models}
        if source.name in names:
            stem = source.shown or source.name.removesuffix(".tflite")
            date = time.strftime("%d %b %H:%M", time.localtime(row.removed))
            source = replace(source, shown=f"{stem} until {date}")
        earlier = tuple(other for other in self.earlier if other is not row)
        return replace(self, earlier=earlier).with_models([source])

    def without_images(self, digests: Sequence[str]) -> Workspace:
        """The workspace without these images and without their annotations."""
        removed = set(digests)
        names = {image.name for image in self.images if image.digest in removed}
        dataset = self.dataset
        if dataset is not None and any(image.name in names for image in dataset.images):
            rest = tuple(image for image in dataset.images if image.name not in names)
            dataset = replace(dataset, images=rest) if rest else None
        return replace(self, images=tuple(i for i in self.images if i.digest not in removed), dataset=dataset)

    def with_shown_name(self, digest: str, name: str) -> Workspace:
        """The workspace with another shown name for one model; an empty name restores the name of the file."""
        models = tuple(replace(m, shown=name.strip()) if m.digest == digest else m for m in self.models)
        return replace(self, models=models)

    def with_settings(self, digest: str, settings: Settings) -> Workspace:
        """The workspace with other settings for one model."""
        models = tuple(replace(m, settings=settings) if m.digest == digest else m for m in self.models)
        return replace(self, models=models)

    def without_quarantine(self, digest: str) -> Workspace:
        """The workspace in which one model may run again."""
        return replace(self, quarantine={key: text for key, text in self.quarantine.items() if key != digest})

    @property
    def runnable(self) -> list[ModelSource]:
        """The models that can be loaded now: those that are already converted and not in quarantine."""
        return [source for source in self.models if source.is_ready and source.digest not in self.quarantine]

    def image_named(self, name: str | None) -> EncodedImage | None:
        """The image with this name, or None."""
        return next((image for image in self.images if image.name == name), None)


def _count_within_limits(images: Sequence[EncodedImage]) -> int:
    """How many of these images, counted from the first, a session may hold."""
    bounds = limits()
    bytes_left = bounds.session_images_mb << 20
    for position, image in enumerate(images[: bounds.session_images]):
        bytes_left -= len(image.data)
        if bytes_left < 0:
            return position
    return min(len(images), bounds.session_images)


def _distinct(images: Sequence[EncodedImage]) -> list[EncodedImage]:
    """The images without duplicates; a name that occurs again gets a number."""
    distinct: dict[str, EncodedImage] = {}
    names: set[str] = set()
    for image in images:
        if image.digest in distinct:
            continue
        name, number = image.name, 2
        while name in names:
            name, number = f"{image.name} ({number})", number + 1
        names.add(name)
        distinct[image.digest] = replace(image, name=name) if name != image.name else image
    return list(distinct.values())


def current() -> Workspace:
    """This session's workspace; an empty one if no page has opened one yet."""
    workspace: Workspace = st.session_state.get(KEY, Workspace())
    return workspace


def keep(workspace: Workspace) -> Workspace:
    """Make this the session's workspace and return it."""
    st.session_state[KEY] = workspace
    return workspace


@dataclass(frozen=True, slots=True, eq=False)
class Drop:
    """One drop of files: the names of the files, and the workspace before and after."""

    names: tuple[str, ...]
    before: Workspace
    after: Workspace

    @property
    def text(self) -> str:
        """The name of the file, or the number of files."""
        return self.names[0] if len(self.names) == 1 else plural(len(self.names), "file")

    def undone(self, workspace: Workspace) -> Workspace:
        """A workspace without the changes of this drop; later changes to other parts are kept."""
        before, after = self.before, self.after
        parts = changed_parts(before, after)
        restored = {name: getattr(before, name) for name in parts}
        if "models" in parts:
            digests = {model.digest for model in after.models}
            added = tuple(model for model in workspace.models if model.digest not in digests)
            restored["models"] = (*before.models, *added)
        return replace(workspace, **restored, notices=before.notices)


PARTS = ("models", "images", "reference", "is_sample", "name", "earlier", "quarantine")
WHOLE_PARTS = ("dataset", "study")
"""Attributes of a workspace that a drop may change. Those in WHOLE_PARTS contain arrays, so they are compared by
identity."""


def changed_parts(before: Workspace, after: Workspace) -> list[str]:
    """Names of the attributes in which two workspaces differ, apart from the notices."""
    equal = [getattr(before, name) == getattr(after, name) for name in PARTS]
    same = [getattr(before, name) is getattr(after, name) for name in WHOLE_PARTS]
    pairs = zip((*PARTS, *WHOLE_PARTS), (*equal, *same), strict=True)
    return [name for name, unchanged in pairs if not unchanged]


def keep_drop(names: Sequence[str], workspace: Workspace) -> Workspace:
    """Make this the session's workspace after a drop of these files and, if it changed, remember the one before."""
    before = current()
    keep(workspace)
    if changed_parts(before, workspace):
        st.session_state[DROPS] = (Drop(tuple(names), before, workspace), *drops())[:MAX_UNDO]
    return workspace


def drops() -> tuple[Drop, ...]:
    """The drops that can be undone, the latest first."""
    rows: tuple[Drop, ...] = st.session_state.get(DROPS, ())
    return rows


def undo_drop() -> None:
    """Undo the latest drop."""
    if rows := drops():
        st.session_state[DROPS] = rows[1:]
        keep(rows[0].undone(current()))


def forget_drops() -> None:
    """Forget all drops, so that none can be undone any more."""
    st.session_state.pop(DROPS, None)
