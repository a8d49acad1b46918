"""What `profile` found, as figures: ms, bytes of the file, peak_mb in 10^6 bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qviz.analysis.profile_jobs import OperatorTime

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class KindTime:
    """All operators of one kind: `steps` of them take `ms`."""

    op_kind: str
    steps: int
    ms: float


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model at one thread count. cpu_ms: mean processor time of all threads. peak_mb: None where unknown."""

    name: str
    digest: str
    scheme: str
    bytes: int
    threads: int
    runs: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    min_ms: float
    cpu_ms: float
    load_ms: float
    peak_mb: float | None
    operators: tuple[OperatorTime, ...]

    @property
    def by_kind(self) -> tuple[KindTime, ...]:
        """The slowest kind first."""
        rows: dict[str, list[float]] = {}
        for operator in self.operators:
            rows.setdefault(operator.op_kind, []).append(operator.ms)
        kinds = (KindTime(kind, len(times), sum(times)) for kind, times in rows.items())
        return tuple(sorted(kinds, key=lambda kind: -kind.ms))


@dataclass(frozen=True, slots=True)
class Profile:
    """A row a model and thread count. pinned: to cores. skipped, remarks: sentences, of a model or of the machine."""

    models: tuple[ModelProfile, ...]
    cores: int
    pinned: bool
    skipped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def at(self, threads: int) -> tuple[ModelProfile, ...]:
        """The models at one thread count."""
        return tuple(row for row in self.models if row.threads == threads)

    def to_json(self) -> dict[str, Any]:
        """As `qviz profile --json` prints it."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """A row a model and thread count, without its operators."""
        import pandas as pd

        names = [name for name in ModelProfile.__slots__ if name != "operators"]
        return pd.DataFrame([[getattr(row, name) for name in names] for row in self.models], columns=names)

    def operators_frame(self) -> pd.DataFrame:
        """A row an operator of each model and thread count."""
        import pandas as pd

        names = ["model", "threads", "order", "op_kind", "tensor", "ms"]
        rows = [
            [row.name, row.threads, operator.order, operator.op_kind, operator.tensor, operator.ms]
            for row in self.models
            for operator in row.operators
        ]
        return pd.DataFrame(rows, columns=names)
