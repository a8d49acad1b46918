"""Which licences may stand in one picture, and under which the whole then is.

A scene is a work made of all its parts. GPL does not go with CC BY-SA (3.0 and older not at all,
4.0 only one way and into GPL 3), nor with CC BY before 4.0, so such parts are never put together.
"""

from image_credits import LICENCES

GPL = "GPL-2.0-or-later"
SCENE_LICENCES = LICENCES | {
    "CC-BY-2.5": "https://creativecommons.org/licenses/by/2.5/",
    GPL: "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
}
WITH_GPL = {GPL, "CC-BY-4.0", "CC0-1.0", "Public domain"}
ORDER = (GPL, "CC-BY-SA-4.0", "CC-BY-4.0", "CC-BY-2.5", "CC-BY-2.0", "CC0-1.0", "Public domain")  # strictest first


def may_stand_together(licences: set[str]) -> bool:
    """Whether parts under `licences` may make one picture."""
    return GPL not in licences or licences <= WITH_GPL


def licence_of(licences: set[str]) -> str:
    """The licence of a picture made of parts under `licences`: the strictest of them."""
    if not may_stand_together(licences):
        raise ValueError(f"{sorted(licences)} may not stand in one picture")
    return next(name for name in ORDER if name in licences)
