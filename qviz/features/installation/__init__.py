"""Facts for a bug report: versions, machine, limits, optional parts, kernels, and a self-test on a tiny model.

The result names no user, no machine and no file outside qviz; the home folder is written as `~`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, ClassVar

from qviz.engine import machine_memory, memory_limit_sentence, sandbox_sentence
from qviz.errors import SettingsError
from qviz.features.installation.selftest import DTYPES, KERNEL_NAMES, SelfTest, self_test, without_home
from qviz.limits import VARIABLE, limits
from qviz.optional import DISTRIBUTION, PARTS, install_command, missing_modules
from qviz.result import Result
from qviz.store import user_folder

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class OptionalPart:
    """An optional part of qviz.

    Attributes:
        name: The extra that installs it.
        available: Whether all its packages are installed.
        install: The command that installs it.
        purpose: What it makes possible.
        missing: Modules that are not installed.
    """

    name: str
    available: bool
    install: str
    purpose: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of TensorFlow Lite kernels. reason: why these kernels are not available; empty if they are."""

    name: str
    available: bool
    reason: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Installation(Result):
    """This installation of qviz and the machine that it runs on.

    Attributes:
        versions: Name -> version of qviz, Python and each installed package that qviz requires, extras included.
        machine: `system`, `processor`, `cores`, `memory_mb`, `free_memory_mb` and `free_disk_mb` (in MiB),
            `worker_memory_limit` and `worker_sandbox` (sentences), `cache` (a folder) and `container` (whether qviz
            runs in one).
        limits: The limits in force.
        limits_file: Path of the administrator's file of limits; empty if there is none.
        optional: Parts of qviz that need further packages.
        backends: One entry per kind of kernels; available if the self-test passed on it.
        selftest: Outcome of the self-test, see `selftest`.
    """

    ROWS: ClassVar = "optional"

    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    limits: Mapping[str, Any]
    limits_file: str
    optional: tuple[OptionalPart, ...]
    backends: tuple[Backend, ...]
    selftest: SelfTest

    def plot(self, **options: Any) -> Any:
        """Raises SettingsError: an installation has no chart."""
        raise SettingsError("An installation has no chart; save it as .json, or print it.")


def examine(qviz_version: str) -> Installation:
    """Run the self-test and describe the installation; see `qviz.doctor`."""
    limits_in_force = limits().to_json()
    selftest = self_test()
    return Installation(
        versions={"qviz": qviz_version, "Python": platform.python_version(), **dict(_packages())},
        machine=_machine(),
        limits=limits_in_force,
        limits_file=without_home(os.environ.get(VARIABLE, "")),
        optional=tuple(_part(name) for name in PARTS),
        backends=tuple(_backend(name, selftest) for name in KERNEL_NAMES),
        selftest=selftest,
    )


def _packages() -> Iterator[tuple[str, str]]:
    """(name, version) of every installed package that this distribution or one of its extras requires."""
    try:
        requirements = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a clone that was not installed
        requirements = []
    names = {match.group() for text in requirements if (match := re.match(r"[\w.-]+", text))}
    for name in sorted(names - {DISTRIBUTION}, key=str.lower):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _machine() -> dict[str, Any]:
    installed, free = machine_memory()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": installed // MEGABYTE,
        "free_memory_mb": free // MEGABYTE,
        "worker_memory_limit": memory_limit_sentence(),
        "worker_sandbox": sandbox_sentence(),
        "free_disk_mb": shutil.disk_usage(tempfile.gettempdir()).free // MEGABYTE,
        "cache": without_home(str(user_folder("cache"))),
        "container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
    }


def _part(name: str) -> OptionalPart:
    missing = missing_modules(name)
    return OptionalPart(name, not missing, install_command(name), PARTS[name].purpose, missing)


def _backend(name: str, selftest: SelfTest) -> Backend:
    """The kernels of this name; available if the self-test ran both data types on them."""
    names = [f"run {dtype} on {name} kernels" for dtype in DTYPES]
    faults = [check.detail for check in selftest.checks if check.name in names and not check.passed]
    return Backend(name, not faults, "; ".join(faults))
