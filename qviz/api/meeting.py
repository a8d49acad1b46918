"""The report: one HTML page for the meeting, from models and images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qviz.api.session import PathIn, engine_or_own
from qviz.datasets.annotated import read_dataset
from qviz.datasets.files import find_images, unannotated, unannotated_images, unzip_images
from qviz.engine import Engine
from qviz.errors import ImageError, SettingsError, StudyError
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.html import SECTIONS, available, render
from qviz.features.reporting.study import MOST_BYTES, Made, Study, read_study, study_bytes
from qviz.features.reporting.work import EXTRAS, Wanted, check_extras, make_study, with_extras
from qviz.progress import OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, DatasetImage, digest_of


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """html: the whole page; sections: those it has, in their order; study: what it tells."""

    html: str
    sections: tuple[str, ...]
    study: Study

    def write(self, path: PathIn) -> int:
        """Its size in bytes. The line ends stay as they are: the policy knows the scripts by their digests."""
        return _write(path, self.html.encode("utf-8"))


def report_of(study: Study, sections: Sequence[str] | None = None, notes: Mapping[str, str] | None = None) -> Report:
    """The page of a study that is there already. Raises SettingsError."""
    return Report(render(study, sections, notes), tuple(sections or available(study)), study)


def save_study(study: Study, path: PathIn) -> int:
    """The file's size in bytes; it opens on another machine, with or without the models. Raises SettingsError."""
    return _write(path, study_bytes(study))


def open_study(path: PathIn) -> Study:
    """Raises StudyError."""
    try:
        if Path(path).stat().st_size <= MOST_BYTES:
            return read_study(Path(path).read_bytes(), Path(path).name)
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}); name a file of --save-study.") from error
    raise StudyError(f"{path} is larger than {MOST_BYTES >> 20} MB; no study is.")


def _write(path: PathIn, data: bytes) -> int:
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written ({error.strerror}); name a file in a folder where you may write."
        ) from error
    return len(data)


def report(
    models: Sequence[LoadedModel],
    dataset: PathIn | None = None,
    images: Iterable[PathIn] = (),
    sections: Sequence[str] | None = None,
    notes: Mapping[str, str] | None = None,
    also: Collection[str] = (),
    wanted: Wanted = Wanted(),
    made: Made = Made(),
    engine: Engine | None = None,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
) -> Report:
    """The page of these models, the reference first. images: by default the dataset's; one folder may hold those.

    sections: names of `qviz.report.SECTIONS`; None: all there is something for. also: of `EXTRAS`, which take minutes
    and are made only where they are named, here or among the sections. Raises DatasetError, ImageError, SettingsError,
    WorkerError.
    """
    check_sections(sections, dataset is not None)
    extras = {*also, *(name for name in sections or () if name in EXTRAS)}
    check_extras(extras)
    paths = [Path(path) for path in images]
    data = _dataset(dataset, paths)
    chosen = replace(wanted, layers=wanted.layers and (sections is None or "layers" in sections))
    if dataset is not None and not made.dataset_digest and Path(dataset).is_file():
        made = replace(made, dataset_digest=digest_of(Path(dataset).read_bytes()))
    with engine_or_own(engine) as running:
        compared = _compared(data, paths)
        study = make_study(running, models, compared, data, chosen, made, on_progress, threads, store)
        study = with_extras(running, study, models, compared, data, extras, on_progress, threads, store)
    return report_of(study, sections, notes)


def check_sections(sections: Sequence[str] | None, annotated: bool) -> None:
    """Before any work. Raises SettingsError."""
    for name in sections or ():
        if name not in SECTIONS:
            raise SettingsError(f"{name!r} is no section of the report; choose some of {', '.join(SECTIONS)}.")
        if name in ("accuracy", "classes") and not annotated:
            raise SettingsError(f"The section {name!r} tells AP, which annotated images are needed for: --dataset.")


def _dataset(dataset: PathIn | None, paths: Sequence[Path]) -> Dataset | None:
    if dataset is None:
        return None
    return read_dataset(Path(dataset), paths[0] if _is_folder(paths) else None)


def _is_folder(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and paths[0].is_dir()


def _compared(dataset: Dataset | None, paths: Sequence[Path]) -> Sequence[DatasetImage]:
    """The images named, else the dataset's."""
    if dataset is not None and (not paths or _is_folder(paths)):
        return dataset.images
    if not paths:
        raise ImageError("Neither a dataset nor images are given; a report needs one of them.")
    return list(_read(find_images(paths)))


def _read(paths: Sequence[Path]) -> Iterator[DatasetImage]:
    """Archives are opened; files are read when their turn comes."""
    for path in paths:
        if path.suffix.lower() == ".zip":
            yield from unannotated_images(path.name, unzip_images(path.name, path.read_bytes())).images
        else:
            yield from unannotated(path.parent, [path]).images
