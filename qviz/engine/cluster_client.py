"""A Dask client for our jobs, and what Dask raises in our words."""

from __future__ import annotations

import logging
import os
import re
from concurrent.futures import CancelledError
from typing import Any

from qviz.engine.code import OTHER_CODE, code_digest
from qviz.errors import QvizError, SettingsError, WorkerCrashed

PATIENCE = 10.0
"""Seconds for the scheduler to answer, and for its first worker to be there."""


def connected(address: str) -> Any:
    """A Dask client. Raises SettingsError."""
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise SettingsError(
            f"{address} is a Dask cluster, and Dask is not installed; install it with: pip install -e '.[cluster]' (in the clone of qviz)."
        ) from error
    if "QVIZ_DEBUG" not in os.environ:  # what a user needs is said in our errors
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "4 GiB"})  # a model is large, and sent once
    try:
        return Client(address, timeout=PATIENCE, set_as_default=False, name="qviz")
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"No Dask scheduler answers at {address} within {PATIENCE:.0f} s; start one with `dask scheduler`, and"
            " give the address that it prints, e.g. tcp://127.0.0.1:8786."
        ) from error


def same_workers(client: Any, address: str, code: str) -> int:
    """How many jobs its workers run at a time. Raises SettingsError where there is none, or one with other code."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise SettingsError(
            f"The Dask scheduler at {address} has no worker; start some with `dask worker {address} --nthreads 1`."
        ) from error
    try:
        found = client.run(code_digest, on_error="return")
    except Exception as error:
        found = {address: error}
    for answer in found.values():
        if isinstance(answer, BaseException):
            told = in_our_words(answer, address)
            raise told if isinstance(told, QvizError) else SettingsError(f"A worker of {address} fails: {told}")
        if answer != code:
            raise SettingsError(OTHER_CODE)
    return max(1, sum(client.nthreads().values()))


def in_our_words(error: BaseException, address: str) -> BaseException:
    """An error of Dask as one of ours."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return WorkerCrashed(
            f"The job was tried on several workers of {address}, and each was lost while it ran; see their logs."
        )
    if missing := re.search(r"No module named '(qviz|loky|psutil)\b", str(error)):
        return SettingsError(
            f"A worker of {address} has no {missing[1]}; install the same version of qviz as here on every worker."
        )
    if isinstance(error, (CancelledError, OSError)) or type(error).__module__.startswith("distributed"):
        return WorkerCrashed(f"The Dask cluster at {address} was lost before the job was done.")
    return error
