"""The dashboard's pages build and convert models in a worker that the tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def shared_workers(lent_builder: None) -> None:
    """Pages build their variants in the worker of the fixture `workers`."""
