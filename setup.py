"""Puts the dashboard into the wheel: app.py, pages/ and .streamlit/ become files of the folder `qviz/dashboard`.

They stay at the top of the repository, where Streamlit and its users look for them. In a wheel they would otherwise be
modules named `app` and `pages` at the top of everybody's site-packages. The rest is in pyproject.toml.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

os.environ.setdefault("SOURCE_DATE_EPOCH", "1767225600")  # 2026-01-01: equal sources give equal wheels, byte for byte
HERE = Path(__file__).resolve().parent
FILES = {
    "app.py": "dashboard",
    "pages/*.py": "dashboard/pages",
    ".streamlit/config.toml": "dashboard/.streamlit",
    "docs/glossary.md": "dashboard/docs",
}
"""Files of the repository -> their folder in the package."""


class WithDashboard(build_py):
    """Copies `FILES` after the modules; an editable install uses those at the top of the clone."""

    def run(self):
        if not self.editable_mode:  # modules of an earlier build that are gone would be in the wheel
            shutil.rmtree(Path(self.build_lib) / "qviz", ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for source, target in self._copies():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            set_modes(Path(self.build_lib) / "qviz")

    def get_outputs(self, include_bytecode=True):
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._copies())]

    def get_source_files(self):
        return [*super().get_source_files(), *(str(source.relative_to(HERE)) for source, _ in self._copies())]

    def _copies(self):
        package = Path(self.build_lib) / "qviz"
        return [
            (source, package / folder / source.name)
            for pattern, folder in FILES.items()
            for source in sorted(HERE.glob(pattern))
        ]


class WithModes(bdist_wheel):
    """Gives the licence and the metadata the same modes everywhere, too."""

    def egg2dist(self, egginfo_path, distinfo_path):
        super().egg2dist(egginfo_path, distinfo_path)
        set_modes(Path(distinfo_path))


def set_modes(folder):
    """A clone's modes depend on the user's umask, and a wheel stores them."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


setup(cmdclass={"build_py": WithDashboard, "bdist_wheel": WithModes})
