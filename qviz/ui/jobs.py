"""Long computations of the dashboard. Each is a `Job`, which runs once per server; all sessions share it by its key.

    job = jobs.start("profile", key, lambda context: profile(context, models))
    if not jobs.wait(job, "cost", again):  # draws progress with Cancel until it is finished, then reruns the page
        return                             # running, cancelled or failed: `wait` has drawn that
    show(job.future.result())

A job continues when the user leaves or reloads the page. It is listed in the tray of the session that started it and of
its project, and `requested` finds its request again. A cancelled or failed job stays in that state until `restart` is
called.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.errors import QvizError
from qviz.job import Job
from qviz.job_times import JobTimes, about
from qviz.store import user_folder
from qviz.structures import digest_of
from qviz.ui import clicks, server, stored_results, tray

T = TypeVar("T")

REFRESH_SECONDS = 0.5
JOBS_PER_KIND = 32
"""Maximum number of jobs of one kind that are remembered, including finished jobs."""
TIMES = "job_times.json"
WORTH_SAYING = 10.0
"""A job's expected time is shown before it starts if it is at least this many seconds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job.

    Attributes:
        title: Name of the kind in the tray.
        side_by_side: Number of jobs of this kind that run at the same time; further jobs wait. Each uses all workers.
        quiet: Whether a job leaves the tray as soon as it finishes, because the user did not start it.
    """

    title: str
    side_by_side: int = 1
    quiet: bool = False


KINDS = {
    "evaluate": Kind("Accuracy", 2),
    "sweep": Kind("Robustness sweep", 2),
    "layers": Kind("Layers", 2),
    "trace": Kind("Trace", 4),
    "build": Kind("Build"),
    "train": Kind("Train"),
    "rescue": Kind("Rescue"),
    "calibration": Kind("Calibration lab"),
    "profile": Kind("Size, latency and memory"),
    "report": Kind("Report"),
    "backends": Kind("Backends"),
    "recorded": Kind("Device recording", quiet=True),
    "npu": Kind("Cost on an NPU", quiet=True),
    "diagnosis": Kind("Diagnosis", 2, quiet=True),
    "explanation": Kind("Layers that explain the loss"),
    "alarm": Kind("Images outside of the calibration", quiet=True),
}


def _kind(name: str) -> Kind:
    return KINDS.get(name, Kind(name.capitalize()))


@dataclass(frozen=True, slots=True)
class Work:
    """The subject and amount of a job's work, from which its duration is estimated by means of earlier runs.

    Attributes:
        subject: Digest of everything else that the duration depends on, such as the model; see `subject_of`.
        amount: Number of items that the job processes, such as images times models.
        detail: Text added to the job's title in the tray, such as the name of a recipe.
    """

    subject: str = ""
    amount: float = 1.0
    detail: str = ""


def subject_of(*parts: object) -> str:
    """A short digest (12 hex digits) of these parts."""
    return digest_of(repr(parts).encode())[:12]


@st.cache_resource(show_spinner=False)
def _times() -> JobTimes:
    try:
        return JobTimes(user_folder("cache") / TIMES)
    except RuntimeError:  # an account without a home folder
        return JobTimes(None)


@st.cache_resource(show_spinner=False)
def _jobs(kind: str) -> LRUCache[Job[object]]:
    return LRUCache(JOBS_PER_KIND)


@st.cache_resource(show_spinner=False)
def _executor(kind: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_kind(kind).side_by_side, thread_name_prefix=f"qviz-{kind}")


def expected_time(kind: str, work: Work) -> str:
    """A sentence on how long such a job takes on this machine.

    Empty if it takes only a short time, or if no such job has been timed yet.
    """
    run, is_same = _times().expected(kind, work.subject, work.amount)
    if run is None or run.seconds < WORTH_SAYING:
        return ""
    return f"It takes {about(run.seconds)}, judging by {'the last run' if is_same else 'a run with other models'} here."


def start(
    kind: str,
    key: Hashable,
    function: Callable[[Context], T],
    step: str = "",
    unit: str = "",
    prepare: Callable[[Job[T]], object] = lambda job: None,
    work: Work = Work(),
) -> Job[T]:
    """Return the job of this kind and key, and start it if it does not exist.

    While it runs, it is in this session's tray. A result that was stored earlier is not computed again.

    Args:
        function: The computation. It receives a context that reports progress to the job and that is cancelled with it.
        step: Text of the first step.
        unit: What the progress counts, e.g. `images`.
        prepare: Called with a new job before it starts.
        work: Subject and amount of the work, from which the time left is estimated.
    """

    def begin() -> Job[object]:
        job: Job[T] = Job(step_text=step, unit=unit, kind=kind, subject=work.subject, work=work.amount, times=_times())
        prepare(job)

        def compute(context: Context) -> T:
            if (stored := stored_results.load(context.store, kind, key)) is not None:
                return stored
            computed = function(context)
            if not job.finish_early.is_set():
                stored_results.save(context.store, kind, key, computed)
            return computed

        job.start(_executor(kind), compute, server.context())
        return job  # type: ignore[return-value]

    job = _jobs(kind).get((kind, key), begin)
    row = _kind(kind)
    title = f"{row.title}: {work.detail}" if work.detail else row.title
    tray.add(job, title, row.quiet, lambda: forget(kind, key))
    return job  # type: ignore[return-value]


def restart(kind: str, key: Hashable, function: Callable[[Context], T], *options: Any, **more: Any) -> Job[T]:
    """Same as `start`, but a job that failed, was cancelled or was finished early is started again."""
    job = find(kind, key)
    if job is not None and job.finished and (job.cancelled or job.error is not None or job.finish_early.is_set()):
        forget(kind, key)
    return start(kind, key, function, *options, **more)


def find(kind: str, key: Hashable) -> Job[object] | None:
    """The job of this kind and key, or None."""
    return _jobs(kind).find((kind, key))


def stored(kind: str, key: Hashable) -> Any:
    """The result that an earlier run of the server stored for this kind and key, or None. Nothing is started."""
    return stored_results.load(server.detection_store(), kind, key)


def has_result(kind: str, key: Hashable) -> bool:
    """Whether this job has a result, or an earlier run of the server stored one. A page shows it without a click."""
    job = find(kind, key)
    if job is not None:
        return job.finished and not job.cancelled and job.error is None
    return stored_results.has(server.detection_store(), kind, key)


def forget(kind: str, key: Hashable) -> None:
    """Drop a job and its stored result, so that the next `start` computes it again."""
    _jobs(kind).forget((kind, key))
    stored_results.forget(server.detection_store(), kind, key)


def wait(
    job: Job[T],
    name: str,
    again: Callable[[], object],
    partial: Callable[[T], object] | None = None,
    keep: bool = False,
) -> bool:
    """Draw the state of a job and return whether it has a result.

    A running job is drawn as its progress with a Cancel button, a failed one as a sentence with a button that starts
    it again.

    Args:
        name: Name for the keys of the buttons, unique on the page.
        again: Called when the user restarts a cancelled or failed job; it usually calls `forget`.
        partial: Draws the partial result while the job runs.
        keep: Whether to offer "Stop and keep the result so far" as well; the computation must check `finish_early`.
    """
    if not job.finished:
        _progress(job, name, partial, keep)
        return False
    tray.has_ended_in_view(job)
    error = job.error
    if error is None and not job.cancelled:
        return True
    if error is not None and not isinstance(error, QvizError):
        raise error
    if job.cancelled:
        st.info("Stopped. What was computed so far is kept and is used when you continue.")
    else:
        st.text(str(error))
    clicks.button(st, "Continue" if job.cancelled else "Try again", again, f"{name}-again", st.rerun)
    return False


def result(
    kind: str,
    key: Hashable,
    function: Callable[[Context], T],
    name: str,
    step: str = "",
    unit: str = "",
    partial: Callable[[T], object] | None = None,
    work: Work = Work(),
) -> T | None:
    """The result of the job of this kind and key. If it has none yet, draws its progress or error and returns None."""
    job = start(kind, key, function, step, unit, work=work)
    return job.future.result() if wait(job, name, lambda: forget(kind, key), partial) else None


@clicks.fragment(run_every=REFRESH_SECONDS)
def _progress(job: Job[T], name: str, partial: Callable[[T], object] | None, keep: bool) -> None:
    """Draw a progress bar, the buttons that stop the job, and its partial result; rerun the page when it finishes."""
    if job.finished:
        st.rerun()
    columns = st.columns([6, 1, 1] if keep else [6, 1], vertical_alignment="center")
    columns[0].progress(job.share, text=job.progress_text())
    stopping = job.cancel.is_set()
    columns[-1].button("Cancel", on_click=job.stop, disabled=stopping, width="stretch", key=f"{name}-cancel")
    if keep:
        finishing = stopping or job.finish_early.is_set()
        columns[1].button(
            "Stop here", on_click=job.finish_early.set, disabled=finishing, width="stretch", key=f"{name}-finish"
        )
    if partial is not None and job.partial_result is not None:
        partial(job.partial_result)
