"""Writes IMAGES.md: who took each photograph, its licence, its package and what was changed."""

from pathlib import Path

from packages import PACKAGES
from photographs import Photograph, Sample

LICENCES = {
    "Public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}

HEAD = """# Sample and calibration images

Written by `images.py` from `photographs.csv` and `samples.csv`; edit those and run it again.

Every photograph is under the licence of its row, which the package itself states for that
photograph: GCompris in the README beside it (inside the `.rcc` resource), Lomiri in
`/usr/share/doc`, scikit-image in the documentation of `skimage.data`, scikit-learn in the README
of its `images` folder, stdlib in `datapackage.json`. CC-BY asks that the author be named and
changes be told, which this table does. CC-BY-SA asks that what is made of the photograph stays
under the same licence: **the crops and views of those rows are under CC-BY-SA 4.0, too.** The
boxes in `annotations.json` and the tables here were made for this project.

Where the statements do not agree: Debian's own copyright file for gcompris-qt-data describes older
photographs, so the README shipped beside these was followed; scikit-learn's README writes
"danielbuechele" at flower.jpg, too, but links to the page of vultilion, who is named here.

GCompris had cropped, sharpened or scaled its photographs before (its README says how); all files
were then re-encoded here as JPEG without metadata, besides what the last column says.
"""


def write_credits(photographs: dict[str, Photograph], samples: list[Sample], path: Path) -> None:
    """Write the tables of sample images and of calibration views to `path`."""
    cut = [photograph for photograph in photographs.values() if photograph.calibration_views]
    lines = [
        HEAD,
        "## images/\n",
        *_table("file", [(_files([s.name]), s.photograph, _sample_changes(s)) for s in samples]),
        "\n## calibration/\n",
        "Each is a crop of 45-100 % of each side (75-100 % of the small photographs), at most",
        "480 pixels long, mirrored every other time, 0.6-1.3 times as bright; drawn by the seed",
        "that is its name.\n",
        *_table("files", [(_files(p.view_names), p, "crop, scale, mirror, brightness") for p in cut]),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(head: str, rows: list[tuple[str, Photograph, str]]) -> list[str]:
    return [
        f"| {head} | title | author | licence | package | changed |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(*row) for row in rows),
    ]


def _row(files: str, photograph: Photograph, changed: str) -> str:
    package = PACKAGES[photograph.package]
    title = photograph.title.replace("|", "\\|")
    licence = f"[{photograph.licence}]({LICENCES[photograph.licence]})"
    origin = f"{package.kind.title} {package.name} {package.version}"
    return f"| {files} | [{title}]({photograph.source}) | {photograph.author} | {licence} | {origin} | {changed} |"


def _sample_changes(sample: Sample) -> str:
    return "crop" if sample.crop else "scaled down where longer than 1024 pixels"


def _files(names: list[str]) -> str:
    return ", ".join(f"`{name}.jpg`" for name in names)
