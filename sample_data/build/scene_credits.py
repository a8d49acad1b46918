"""Writes scenes/LICENSES.md and scenes/credits.json: the parts of each scene, their authors and licences."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from packages import PACKAGES
from photographs import HERE
from scene_licences import GPL, SCENE_LICENCES

if TYPE_CHECKING:
    from scenes import Scene

HEAD = f"""# Licences of the composed scenes

Written by `build/scenes.py` from `build/stamps.csv`, `build/backgrounds.csv` and `build/photographs.csv`.

**These pictures are not under the code's Apache-2.0.** Each is made of a photograph of a place and of
cut-out things, and is under the strictest licence of its parts, named in the tables below and in
`credits.json`. No part under the GFDL or an older CC BY-SA was used, and none under the GPL stands in
one picture with CC BY-SA or with CC BY before 4.0. `{GPL}` means: you may redistribute and change the
picture under the terms of the GNU General Public License, version 2 or later, as published by the
Free Software Foundation, without any warranty; its text is `GPL-2.0.txt`. The form for making changes
(its source) is the scripts and tables in `build/` with the packages that they fetch. The boxes in
`annotations.json` were computed for this project (Apache-2.0).

What was changed: each background was cropped, scaled, sometimes mirrored and, where the camera is low,
blurred; each cut-out was scaled, mostly mirrored or turned, its edge softened, its brightness and
tint moved towards the background's, and sometimes covered by another or by the picture's edge;
shadows were added, below the stop sign a post, and light, blur and grain to the whole.

The stamps' package states the GPL (2 or later) for all its files; its changelog and upstream's
CONTRIBUTORS.txt name the authors, and another licence where there is one. Those offered under the GFDL,
CC BY-SA and the GPL at once (Caroline Ford's) are used under the GPL. The backgrounds' licences are those that
their packages state (see `build/IMAGES.md`; MATE's in its copyright file).
"""


def write_scene_credits(scenes: list["Scene"], folder: Path) -> None:
    """Write the tables, the same as JSON, and the text of the GPL."""
    credits = {f"{scene.name}.jpg": _credit(scene) for scene in scenes}
    (folder / "credits.json").write_text(json.dumps(credits, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    parts = {part["key"]: part for credit in credits.values() for part in credit["parts"]}
    lines = [
        HEAD,
        "## Parts\n",
        "| part | title | author | licence | package |",
        "| --- | --- | --- | --- | --- |",
        *(_part_row(part) for _, part in sorted(parts.items())),
        "\n## Scenes\n",
        "| file | licence | background | things |",
        "| --- | --- | --- | --- |",
        *(_scene_row(name, credit) for name, credit in credits.items()),
    ]
    (folder / "LICENSES.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copyfile(HERE / "GPL-2.0.txt", folder / "GPL-2.0.txt")


def _credit(scene: "Scene") -> dict:
    parts = [scene.background.photograph, *(sprite.placement.stamp for sprite in scene.sprites)]
    return {"licence": scene.licence, "parts": list({part.key: _part(part) for part in parts}.values())}


def _part(part) -> dict:
    package = PACKAGES[part.package]
    fields = {name: getattr(part, name) for name in ("key", "title", "author", "licence", "source", "path")}
    return fields | {"package": f"{package.kind.title} {package.name} {package.version}"}


def _part_row(part: dict) -> str:
    licence = f"[{part['licence']}]({SCENE_LICENCES[part['licence']]})"
    return (
        f"| `{part['key']}` | [{part['title']}]({part['source']}) | {part['author']} | {licence} | {part['package']} |"
    )


def _scene_row(name: str, credit: dict) -> str:
    background, *sprites = (f"`{part['key']}`" for part in credit["parts"])
    return f"| `{name}` | {credit['licence']} | {background} | {', '.join(sprites)} |"
