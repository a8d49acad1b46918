"""The sample's annotations written as YOLO and as Pascal VOC, and archives of such folders."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np

from qviz.structures import Dataset, DatasetImage

VOC_OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult><part><name>head</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"""


def voc_xml(objects: str = "", filename: str = "a.jpg", size: tuple[int, int] = (40, 20)) -> str:
    width, height = size
    return (
        f"<annotation><filename>{filename}</filename><size><width>{width}</width><height>{height}</height></size>"
        f"{objects}</annotation>"
    )


def voc_object(x1: object, y1: object, x2: object, y2: object, name: str = "cat", difficult: int = 0) -> str:
    return VOC_OBJECT.format(name=name, difficult=difficult, x1=x1, y1=y1, x2=x2, y2=y2)


def write_yolo(top: Path, dataset: Dataset) -> Path:
    """Ultralytics' layout, with category ids turned into zero-based classes."""
    ids = [category.id for category in dataset.categories]
    for image in dataset.images:
        assert image.size is not None
        _copied(image, top / "images" / "val")
        shares = image.boxes / np.array(image.size * 2)
        centres, sizes = (shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]
        rows = zip(image.category_ids, centres, sizes, strict=True)
        lines = [f"{ids.index(c)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}" for c, (x, y), (w, h) in rows]
        put(top, f"labels/val/{Path(image.name).stem}.txt", "\n".join(lines))
    names = "\n".join(f"  {i}: {category.name}" for i, category in enumerate(dataset.categories))
    return put(top, "data.yaml", f"path: ../somewhere/else\ntrain: images/train\nval: images/val\nnames:\n{names}\n")


def write_voc(top: Path, dataset: Dataset) -> None:
    names = {category.id: category.name for category in dataset.categories}
    for image in dataset.images:
        assert image.size is not None
        _copied(image, top / "JPEGImages")
        corners = np.rint(image.boxes).astype(int)
        rows = zip(image.category_ids, corners, image.is_crowd, strict=True)
        objects = "".join(voc_object(x1 + 1, y1 + 1, x2, y2, names[c], int(d)) for c, (x1, y1, x2, y2), d in rows)
        put(top, f"Annotations/{Path(image.name).stem}.xml", voc_xml(objects, image.name, image.size))
    put(top, "ImageSets/Main/val.txt", "".join(f"{Path(image.name).stem}\n" for image in dataset.images))


def _copied(image: DatasetImage, folder: Path) -> None:
    assert isinstance(image.source, Path)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(image.source, folder)


def put(top: Path, name: str, content: str | bytes) -> Path:
    path = top / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(top: Path, below: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(top.rglob("*")):
            if path.is_file():
                archive.write(path, f"{below}{path.relative_to(top)}")
    return buffer.getvalue()


def packed(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
