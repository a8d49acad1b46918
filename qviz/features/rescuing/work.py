"""Candidates of a rescue built and measured, each once: what a journal knows already is not done again.

A journal belongs to one search half, one calibration, one float network and one version of the code; the budget is no
part of it, so that another budget, or a run after a kill, begins with all that was measured. Files are not kept: the
same candidate is built again bit for bit, in less time than it takes to measure it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qviz.engine import Engine
from qviz.engine.code import code_digest
from qviz.errors import Cancelled, QvizError
from qviz.features.building import Calibration, Source, calibrate, recipe_of, start_building
from qviz.features.cost.measure import Subject, latency_job
from qviz.features.detection.cache import ROOMS
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.rescuing.measure import Figures, Half
from qviz.features.rescuing.result import LATENCY, Budget, Candidate, Tried
from qviz.features.rescuing.sets import OnStep, Sets
from qviz.progress import OnProgress
from qviz.store.journal import Journal
from qviz.structures import EncodedImage, digest_of

ROUNDS, SECONDS = 40, 10.0
"""Of the reference and a candidate in turns, for its speed."""


@dataclass(slots=True, eq=False)
class Workshop:
    """What candidates are made of and measured with. builders: an engine as `building.builders` starts it."""

    engine: Engine
    builders: Engine
    reference: LoadedModel
    source: Source
    images: Sequence[EncodedImage]
    search: Half
    budget: Budget
    prefer: str
    journal: Journal
    cancel: threading.Event | None
    on_step: OnStep
    ranges: dict[str, Calibration] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    _measured: dict[Candidate, dict[str, Any]] = field(default_factory=dict)
    _sets: dict[Candidate, Sets] = field(default_factory=dict)

    def read_journal(self) -> None:
        """What was found before."""
        for row in self.journal.rows():
            try:
                if "ranges" in row:
                    known = Calibration.from_json(row["ranges"], "the journal")
                    self.ranges[known.method] = known
                elif "sets" in row:
                    self._sets[_candidate(row)] = Sets.from_json(row["sets"])
                elif "figures" in row:
                    self._tried(_candidate(row), "", row)  # raises where something is missing
                    self._measured[_candidate(row)] = row
            except (QvizError, KeyError, TypeError, ValueError):
                continue  # of another version, or damaged: found anew

    def calibration(self, candidate: Candidate) -> Calibration | None:
        """The ranges that it needs, measured once. Raises ImageError, QuantizeError, WorkerError."""
        if not recipe_of(candidate.recipe).needs_calibration:
            return None
        method = candidate.method
        if method not in self.ranges:
            model = self.engine.share(self.source.float_data, self.source.float_digest)
            found, skipped = calibrate(
                self.engine, model, self.source.settings, self.images, method, self._ranges_step, len(self.images)
            )
            self.remarks += [sentence for sentence in skipped if sentence not in self.remarks]
            self.ranges[method] = found
            self.journal.add({"ranges": found.to_json()})
        return self.ranges[method]

    def _ranges_step(self, done: int, total: int) -> None:
        self._look()
        self.on_step("Measuring ranges on the calibration images", done, total)

    def build(self, candidate: Candidate) -> bytes:
        """Its file. Raises Cancelled, QuantizeError, WorkerError."""
        self._look()
        ranges = self.calibration(candidate)
        job = start_building(
            self.builders, self.source, candidate.recipe, candidate.options, ranges, tuple(self.images)
        )
        return job.result().data

    def loaded(self, candidate: Candidate, data: bytes) -> LoadedModel:
        """Ready to run, prepared as the reference is."""
        return follow(load_model(self.engine, ModelSource(f"{candidate.name}.tflite", data)), self.reference)

    def attempt(self, candidate: Candidate, found_by: str, data: bytes | None = None) -> Tried:
        """Built and measured, or known already. data: its file, where it was built. Raises Cancelled."""
        row = self._measured.get(candidate)
        if row is None or (self.prefer == LATENCY and row.get("speed") is None and not row["error"]):
            row = self._work(candidate, data)
            self._measured[candidate] = row
            self.journal.add({**_said(candidate), **row})
        return self._tried(candidate, found_by, row)

    def _work(self, candidate: Candidate, data: bytes | None) -> dict[str, Any]:
        begun = time.monotonic()
        facts: dict[str, Any] = {"figures": None, "error": "", "speed": None}
        try:
            made = data or self.build(candidate)
            facts |= {"bytes": len(made), "digest": digest_of(made)}
            model = self.loaded(candidate, made)
            facts["scheme"] = str(model.scheme)
            step = self.step(f"Measuring {candidate.name}")
            facts["figures"] = asdict(self.search.figures(model, self.search.run(model, step)))
            facts["speed"] = self._speed(model) if self.prefer == LATENCY else None
        except Cancelled:
            raise
        except QvizError as error:
            facts["error"] = str(error)
        return {**facts, "seconds": time.monotonic() - begun}

    def step(self, text: str) -> OnProgress:
        """An OnProgress that tells what is done, and looks whether to stop."""

        def step(done: int, total: int) -> None:
            self._look()
            self.on_step(text, done, total)

        return step

    def _speed(self, model: LoadedModel) -> float:
        subjects = [
            Subject(one.blob, one.settings, one.inspection.graph.input_tensors()[0]) for one in (self.reference, model)
        ]
        wall = self.engine.submit(latency_job, subjects, 1, ROUNDS, SECONDS, 0).result().wall
        first, second = sorted(wall[:, 0])[len(wall) // 2], sorted(wall[:, 1])[len(wall) // 2]
        return float(first / max(second, 1e-9))

    def _tried(self, candidate: Candidate, found_by: str, row: dict[str, Any]) -> Tried:
        figures = None if row["figures"] is None else Figures(**row["figures"])
        loss = None if figures is None else self.search.loss(figures, self.budget)
        return Tried(
            candidate, found_by, row.get("bytes", 0), row.get("scheme", ""), row.get("digest", ""),
            None if figures is None else figures.ap, None if figures is None else figures.agreement, loss,
            loss is not None and loss <= self.budget.limit, row["speed"], row["seconds"], row["error"],
        )  # fmt: skip

    def sets(self, candidate: Candidate, find: Callable[[], Sets]) -> Sets:
        """Sets worth building on a candidate, found once."""
        if candidate not in self._sets:
            self._sets[candidate] = find()
            self.journal.add({**_said(candidate), "sets": self._sets[candidate].to_json()})
        return self._sets[candidate]

    def _look(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("The work was stopped before it was done.")


def journal_of(
    folder: Path | None, source: Source, images: Sequence[EncodedImage], search: Half, score: float
) -> Journal:
    """The journal that all rescues of these files on these images share; one that keeps nothing without a folder."""
    if folder is None:
        return Journal(None)
    calibration = [image.digest for image in images]
    said = [code_digest(*ROOMS, "features"), source.digest, source.float_digest, source.settings.to_json()]
    key = hashlib.sha256(json.dumps([*said, calibration, search.digest, score], sort_keys=True).encode()).hexdigest()
    return Journal(folder / f"{key[:32]}.jsonl")


def _said(candidate: Candidate) -> dict[str, Any]:
    return {**asdict(candidate), "kept": list(candidate.kept)}


def _candidate(row: dict[str, Any]) -> Candidate:
    return Candidate(str(row["recipe"]), str(row["algorithm"]), str(row["method"]), tuple(map(int, row["kept"])))
