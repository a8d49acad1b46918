"""Images and what a variant does to their objects, as files that other tools open.

pictures   the worst images as small JPEGs: the reference's objects left, the variant's right, in the colours of changes
coco       the changed images and the reference's objects as COCO annotations, to relabel or to add to calibration
yolo       the same, as a YOLO dataset
fiftyone   all images in FiftyOne's format for detections, both models' objects with their change as an attribute

The boxes of `coco` and `yolo` are detections of the reference, not ground truth. Nobody has to draw them, but somebody
must check them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from qviz.context import Context
from qviz.datasets.files import ImageFiles
from qviz.detector import PAGE_SCORE, preview_job
from qviz.errors import InputError, SettingsError
from qviz.features.comparison import ComparedImage, Labels, compare_image
from qviz.features.comparison.matching import IOU
from qviz.features.detection import check_any_image
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.exporting.forms import FORMS
from qviz.features.exporting.image import ExportedImage
from qviz.features.exporting.picture import side_by_side
from qviz.formatting import listed
from qviz.result import Result
from qviz.structures import EncodedImage
from qviz.structures.detections import CANDIDATE_FLOOR

PICTURES, PICTURE_SIDE = 6, 400
"""Default number of pictures; longer side of each half in pixels."""
MAX_NAME = 80
MAX_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Export(Result):
    """Images and objects in one form; `save(folder)` writes them.

    Attributes:
        form: A name of `FORMS`.
        labels: Names of the classes; the class number is the position in this tuple.
        images: The exported images, the worst first.
        skipped: One sentence for each image that could not be run.
    """

    ROWS: ClassVar[str] = "images"

    form: str
    reference: str
    variant: str
    labels: tuple[str, ...]
    images: tuple[ExportedImage, ...]
    skipped: tuple[str, ...] = ()

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the files into the folder `path`, which must be new or empty, and return that folder.

        Raises InputError if the folder is not empty or cannot be written.
        """
        folder = Path(path)
        try:
            if folder.is_dir() and any(folder.iterdir()):
                raise InputError(f"{folder} is not empty; name a new folder, so that nothing is overwritten.")
            folder.mkdir(parents=True, exist_ok=True)
            FORMS[self.form](folder, self.labels, self.images)
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror}); name another folder.") from error
        return folder

    def plot(self, **options: Any) -> Any:
        """Raises SettingsError: an export has no chart."""
        raise SettingsError("An export has no chart; save it into a folder.")


def export(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: ImageFiles | Sequence[EncodedImage],
    *,
    form: str = "pictures",
    score: float = PAGE_SCORE,
    worst: int | None = None,
) -> Export:
    """Return the worst images and their objects in one form, ready to be saved; see `Session.export`.

    Args:
        form: A name of `FORMS`.
        score: Minimum confidence of an object, in [0, 1].
        worst: Maximum number of images, the most damaged first. If None, `pictures` has 6 images, `fiftyone` has all
            images, and `coco` and `yolo` have every image on which an object changed.

    Raises:
        SettingsError: There is no such form, or the images are larger than `MAX_BYTES` together.
        ImageError: No image can be read.
    """
    if form not in FORMS:
        raise SettingsError(f"There is no form {form!r}; known: {listed(tuple(FORMS))}.")
    detected = detect_images(context, [reference, variant], images, len(images), min(score, CANDIDATE_FLOOR))
    check_any_image(detected)
    labels: Labels = (reference.inspection.labels, variant.inspection.labels)
    rows = []
    for name, digest in detected.images:
        first, second = (detected.inferences.get((model.digest, digest)) for model in (reference, variant))
        if first is not None and second is not None:
            rows.append((compare_image(name, digest, first, second, labels, score, IOU), (first.width, first.height)))
    rows.sort(key=lambda row: -row[0].summary.damage)
    if worst is None and form in ("coco", "yolo"):
        rows = [row for row in rows if row[0].summary.damage]
    count = worst if worst is not None else PICTURES if form == "pictures" else len(rows)
    encoded = _read(images, [compared.digest for compared, _ in rows[:count]])
    exported = tuple(
        _exported(context, form, number, compared, encoded[compared.digest], size)
        for number, (compared, size) in enumerate(rows[:count], 1)
    )
    names = reference.inspection.labels or tuple(sorted({row.label for image in exported for row in image.objects}))
    return Export(form, reference.name, variant.name, names, exported, tuple(detected.skipped))


def save_worst(exports: Sequence[Export], folder: Path) -> list[tuple[Export, str]]:
    """Save each export into `folder`, or into a subfolder of its own if there are several. Raises InputError.

    Returns (export, path of its files relative to the parent of `folder`, ending in a slash) for each export.
    """
    rows = []
    for number, result in enumerate(exports, 1):
        name = f"variant_{number}" if len(exports) > 1 else ""
        result.save(folder / name)
        rows.append((result, f"{folder.name}/{name}/" if name else f"{folder.name}/"))
    return rows


def _read(images: ImageFiles | Sequence[EncodedImage], digests: Sequence[str]) -> dict[str, EncodedImage]:
    """Digest -> image, for these digests. Raises SettingsError if the images are larger than `MAX_BYTES` together."""
    chosen, encoded, size = set(digests), {}, 0
    for image in images:
        if image.digest in chosen and image.digest not in encoded:
            encoded[image.digest] = image
            size += len(image.data)
        if size > MAX_BYTES:
            raise SettingsError(
                f"The images are larger than {MAX_BYTES >> 20} MB together; choose some with --worst N."
            )
    return encoded


def _exported(
    context: Context, form: str, number: int, compared: ComparedImage, image: EncodedImage, size: tuple[int, int]
) -> ExportedImage:
    """The image with its number in the export; as a picture it is decoded in a worker process."""
    data, file = image.data, f"{number:04d}_{_safe(image.name)}"
    if form == "pictures":
        width, _, jpeg = context.engine.submit(preview_job, image, PICTURE_SIDE).result()
        data, file = side_by_side(jpeg, width, compared.objects), f"worst_{number:02d}.jpg"
    return ExportedImage(image.name, file, *size, compared.objects, data)


def _safe(name: str) -> str:
    """The last part of a file's name with only letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).name)[-MAX_NAME:]
