"""What models cost: size, latency, memory."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.api.session import engine_or_own
from qviz.engine import Engine
from qviz.features.cost import Profile
from qviz.features.cost import profile as measured
from qviz.features.detection.models import LoadedModel
from qviz.progress import OnProgress, silent


def profile(
    models: Sequence[LoadedModel],
    threads: Sequence[int] = (1,),
    runs: int = 50,
    engine: Engine | None = None,
    on_progress: OnProgress = silent,
) -> Profile:
    """Latency by thread count, time by operator and peak memory of each model. Keep the machine quiet meanwhile.

    Raises ModelError, SettingsError, WorkerError.
    """
    with engine_or_own(engine) as running:
        return measured(running, models, threads, runs, on_progress)
