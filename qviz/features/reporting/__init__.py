"""Reports: a study of several models as one HTML file, and as a study file that can be opened again."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from qviz.context import Context
from qviz.datasets.files import ImageFiles
from qviz.detector import PAGE_SCORE
from qviz.errors import ImageError, SettingsError, StudyError
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.sections import available, check_choice, check_names
from qviz.features.reporting.study import MAX_BYTES, Provenance, Study, read_study, study_bytes
from qviz.features.reporting.work import EXTRAS, StudyOptions, check_extras, make_study, with_extras, with_videos
from qviz.result import Result
from qviz.store.whole_files import write_whole
from qviz.structures import Dataset

NEEDS_ANNOTATIONS = ("accuracy", "classes", "operating", "slices")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report(Result):
    """A study, and the sections of it that the page shows.

    Attributes:
        study: All results that the page can show.
        sections: Names of the page's sections, in their order.
        notes: Section -> text at the beginning of the section.
    """

    study: Study
    sections: tuple[str, ...]
    notes: Mapping[str, str]

    JSON_NAMES = {"study": None}  # noqa: RUF012
    ROWS = "models"

    @property
    def models(self) -> tuple[Any, ...]:
        """The cards of the models, the reference first."""
        return self.study.models

    @property
    def html(self) -> str:
        """The page as HTML."""
        page: str = self._module("html").render(self.study, self.sections, self.notes)
        return page

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page (`.html` or any other suffix), its rows (`.csv`) or its content (`.json`); returns the path.

        Line ends are not converted, because the page's security policy identifies its scripts by their digests.
        """
        target = Path(path)
        if target.suffix in (".csv", ".json"):
            return Result.save(self, target)
        return _write(target, self.html.encode("utf-8"))


def report(
    context: Context,
    models: Sequence[LoadedModel],
    dataset: Dataset | None,
    images: ImageFiles | None = None,
    *,
    sections: Sequence[str] | None = None,
    notes: Mapping[str, str] | None = None,
    also: Collection[str] = (),
    name: str = "",
    shown: Sequence[str] = (),
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    made: Provenance = Provenance(),
    video: str | PathLike[str] | None = None,
    every: int = 1,
) -> Report:
    """Compute a study of these models, and return it as a report.

    Args:
        models: The models, the reference first.
        dataset: Annotated images, for AP; None without annotations.
        images: Images on which objects are compared; by default those of the dataset.
        sections: Names in `SECTIONS`; None for all sections that have content.
        notes: Section -> text at the beginning of the section.
        also: Names in `EXTRAS`. These sections take minutes and are computed only if named here or in `sections`.
        name: Title of the page; by default the models' names.
        shown: Names of the images to show; by default the worst images.
        score, iou: Minimum confidence of an object, and minimum IoU of a pair.
        made: Date, command and digest of the dataset, which the page shows.
        video: A video file or a folder of frames, for the section `video`.
        every: Use every n-th frame of the video.

    Raises:
        ImageError: There is neither a dataset nor an image that can be read.
        SettingsError: A section or an extra is unknown, or a section that needs annotations is named without any.
    """
    check_sections(sections, dataset is not None)
    extras = {*also, *(section for section in sections or () if section in EXTRAS)}
    check_extras(extras)
    source = images.dataset() if images is not None else dataset
    if source is None:
        raise ImageError("Neither a dataset nor images are given; a report needs one of them.")
    options = StudyOptions(
        name=name, shown=tuple(shown), layers=sections is None or "layers" in sections, score=score, iou=iou
    )
    study = make_study(context, models, source.images, dataset, options, made)
    study = with_extras(context, study, models, source.images, dataset, extras)
    if video is not None:
        study = with_videos(context, study, models, Path(video), every)
    return report_of(study, sections, notes)


def report_of(study: Study, sections: Sequence[str] | None = None, notes: Mapping[str, str] | None = None) -> Report:
    """The report of an existing study. Raises SettingsError for a section for which the study has no content."""
    chosen = tuple(available(study) if sections is None else sections)
    check_choice(study, chosen, notes or {})
    return Report(study, chosen, dict(notes or {}))


def check_sections(sections: Sequence[str] | None, annotated: bool) -> None:
    """Raise SettingsError for an unknown section, or for one that needs annotations if there are none."""
    check_names(sections or ())
    if not annotated and (unfit := [name for name in sections or () if name in NEEDS_ANNOTATIONS]):
        measure = "AP" if unfit[0] in ("accuracy", "classes") else "recall"
        raise SettingsError(
            f"The section {unfit[0]!r} shows {measure}, which needs annotated images: add --dataset FILE."
        )


def report_command(models: Iterable[object], options: Mapping[str, Any], output: object) -> str:
    """The shell command that makes a page.

    Args:
        options: Name of an option -> its value, or a list if the option takes several words.
    """
    words = ["qviz", "report", *map(str, models)]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if name == "note":
            words += [word for text in value for word in (flag, text)]
        elif value not in (None, [], ""):
            words += [flag, *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join([*words, "-o", str(output)])


def save_study(study: Study, path: str | PathLike[str]) -> Path:
    """Write a study to a file and return its path. The file opens on another machine without the models.

    Raises SettingsError if the file cannot be written.
    """
    return _write(Path(path), study_bytes(study))


def open_study(path: str | PathLike[str]) -> Study:
    """Read the study in a file. Raises StudyError if the file cannot be read or is not a valid study."""
    try:
        if Path(path).stat().st_size <= MAX_BYTES:
            return read_study(Path(path).read_bytes(), Path(path).name)
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}); name a file of --save-study.") from error
    raise StudyError(f"{path} is larger than {MAX_BYTES >> 20} MB; studies are smaller.")


def _write(path: Path, data: bytes) -> Path:
    try:
        write_whole(path, data)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written ({error.strerror}); name a file in a folder where you may write."
        ) from error
    return path
