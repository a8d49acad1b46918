from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qviz.cli import main


@dataclass(frozen=True)
class Result:
    """Exit status and output of one call of the command line."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output. Raises AssertionError if it has NaN or Infinity."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.out, parse_constant=refuse)


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def shared_workers(lent_workers: None, lent_builder: None) -> None:
    """Commands run in workers that the tests share. test_workers.py overrides this fixture."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call
