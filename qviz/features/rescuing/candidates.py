"""Build and measure the candidates of a rescue, each once; measurements in the journal of an earlier run are reused.

A journal belongs to one search half, one calibration, one float network and one version of the code, but not to a
budget. A search with another budget, or one that continues after a kill, therefore reuses all earlier measurements.
The built files are not stored, because building is faster than measuring and gives the same bytes each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qviz.context import Context
from qviz.engine import Engine
from qviz.engine.code import code_digest
from qviz.errors import Cancelled, QuantizeError, QvizError
from qviz.features.accuracy.evaluator import Evaluator, Measurement, floods
from qviz.features.building.build import start_building
from qviz.features.building.calibration import Calibration, ImageRanges, calibration_of, measure_ranges
from qviz.features.building.cures import BEFORE, mended, prepared
from qviz.features.building.recipes import recipe_of
from qviz.features.building.result import Built, float_operators
from qviz.features.building.source import Source
from qviz.features.cost.measure import Subject, latency_job
from qviz.features.cost.npu import npu_cost
from qviz.features.detection.cache import CODE
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.rescuing.few_images import FewImages
from qviz.features.rescuing.result import AP, LATENCY, Budget, Candidate, Tried
from qviz.features.rescuing.sets import Sets
from qviz.formatting import plural
from qviz.result import Misfit, decode, encode
from qviz.store.journal import Journal
from qviz.structures import EncodedImage, digest_of, digest_of_json

ROUNDS, SECONDS = 40, 10.0
"""Maximum number of rounds and maximum seconds of a measurement of speed. A round runs reference and candidate once."""


class OverLimit(QuantizeError):
    """A candidate is larger, or has more operators in 16 bits or in float, than the request allows."""


def _before(candidate: Candidate) -> tuple[str, ...]:
    """The cures of a candidate that change the float network. Ranges must be measured again after these."""
    return tuple(cure for cure in candidate.cures if cure in BEFORE)


@dataclass(slots=True, eq=False)
class Candidates:
    """Builds and measures candidates of one source.

    Attributes:
        context: The context of the search; its progress shows the current step.
        builders: Workers that build, see `building.builders`.
        reference, source: The reference as a loaded model, and in the form that builders read.
        images: Calibration images.
        search: Measures models on the search half.
        reference_there: The measurement of the reference on the search half.
        budget, prefer: As in `Rescue`.
        journal: Measurements of earlier runs and of this one.
        integers_only: Whether no operator may compute in float, except a detection post-process.
        ranges: Method -> ranges measured so far.
        remarks: Sentences for the result.
    """

    context: Context
    builders: Engine
    reference: LoadedModel
    source: Source
    images: Sequence[EncodedImage]
    search: Evaluator
    reference_there: Measurement
    budget: Budget
    prefer: str
    journal: Journal
    integers_only: bool = False
    ranges: dict[str, Calibration] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    _plain_bytes: int | None = None
    _measured: dict[Candidate, Tried] = field(default_factory=dict)
    _sets: dict[Candidate, Sets] = field(default_factory=dict)
    _qualities: dict[Candidate, float] = field(default_factory=dict)
    _cured: dict[Candidate, bytes] = field(default_factory=dict)
    _sources: dict[tuple[str, ...], Source] = field(default_factory=dict)
    _image_ranges: dict[tuple[str, ...], ImageRanges] = field(default_factory=dict)
    _few: FewImages | None = None

    def read_journal(self) -> None:
        """Read the measurements of earlier runs; damaged rows and rows of another version are ignored."""
        for row in self.journal.rows():
            try:
                if "method" in row:
                    ranges = Calibration.from_json(row, "the journal")
                    self.ranges[str(row.get("name", ranges.method))] = ranges
                elif "sets" in row:
                    candidate: Candidate = decode(Candidate, row.get("candidate"), "candidate")
                    self._sets[candidate] = decode(Sets, row["sets"], "sets")
                elif "quality" in row:
                    self._qualities[decode(Candidate, row.get("candidate"), "candidate")] = float(row["quality"])
                elif "tried" in row:
                    tried: Tried = decode(Tried, row["tried"], "tried")
                    self._measured[tried.candidate] = tried
            except (QvizError, Misfit, TypeError, ValueError):
                continue

    def calibration(self, candidate: Candidate) -> Calibration | None:
        """The ranges of activations that a candidate needs; None if it needs none. Each method is measured once.

        Raises Cancelled, ImageError, QuantizeError.
        """
        if not candidate.needs_ranges:
            return None
        name = ", ".join([*_before(candidate), candidate.ranges])
        if name not in self.ranges:
            measured = self._ranges_of_images(candidate)
            self.ranges[name] = calibration_of(measured, self._source_of(candidate).float_digest, candidate.ranges)
            self.remarks += [line for line in self.ranges[name].skipped if line not in self.remarks]
            self.journal.add({**self.ranges[name].to_json(), "name": name})
        return self.ranges[name]

    def _ranges_of_images(self, candidate: Candidate) -> ImageRanges:
        """The ranges on each calibration image, shared by all methods except `percentile`."""
        method = candidate.ranges if candidate.ranges == "percentile" else "minmax"
        key = (*_before(candidate), method)
        if key not in self._image_ranges:
            source = self._source_of(candidate)
            self.context.progress.step("Measuring ranges on the calibration images")
            model = self.context.engine.share(source.float_data, source.float_digest)
            ranges = measure_ranges(self.context, model, source.settings, self.images, method)
            self._image_ranges[key] = ranges
        return self._image_ranges[key]

    def _source_of(self, candidate: Candidate) -> Source:
        """The source after the cures that change the float network. Raises Cancelled, ModelError, QuantizeError."""
        if not candidate.cures:
            return self.source
        before = _before(candidate)
        if before not in self._sources:
            data = self.context, self.builders, self.source, self.images, candidate.cures
            self._sources[before] = prepared(*data)[0]
        return self._sources[before]

    def build(self, candidate: Candidate) -> bytes:
        """The .tflite file of a candidate. Raises Cancelled, ImageError, QuantizeError, WorkerError."""
        self.context.check_cancelled()
        return self._finished(candidate, self._start(candidate))

    def qualities(self, rows: Sequence[Candidate]) -> list[float]:
        """The quality of each candidate on a few images, in [0, 1]; 0 if it cannot be built or run.

        Measurements of earlier runs are reused. Raises Cancelled, ImageError, QuantizeError, WorkerError.
        """
        missing = [row for row in dict.fromkeys(rows) if row not in self._qualities]
        if missing:
            self.context.check_cancelled()
            jobs = {row: partial(self._finished, row, self._start(row)) for row in missing}
            self._few = self._few or FewImages(self.context, self.reference, self.search.dataset)
            for row, quality in self._few.qualities(jobs, self.loaded).items():
                self._qualities[row] = quality
                self.journal.add({"candidate": encode(row), "quality": quality})
        return [self._qualities[row] for row in rows]

    def _start(self, candidate: Candidate) -> Future[Built]:
        """Queue the job that builds a candidate. Raises Cancelled, ImageError, QuantizeError."""
        ranges = self.calibration(candidate)
        source = self._source_of(candidate)
        return start_building(self.builders, source, candidate.recipe, candidate.options, ranges, tuple(self.images))

    def _finished(self, candidate: Candidate, job: Future[Built]) -> bytes:
        """Wait for a job, apply the cures that change the built file, and return the file.

        Raises Cancelled, ModelError, QuantizeError.
        """
        built = self.context.wait(job)
        if not candidate.cures:
            return built.data
        if candidate not in self._cured:  # a cure takes longer than all else, and its file is needed two or three times
            source = self._source_of(candidate)
            self._cured[candidate] = mended(
                self.context, self.builders, source, built, self.images, candidate.cures
            ).data
        return self._cured[candidate]

    def loaded(self, candidate: Candidate, data: bytes) -> LoadedModel:
        """A built candidate as a model, with the settings of the reference. Raises ModelError, WorkerError."""
        return follow(load_model(self.context.engine, ModelSource(f"{candidate.name}.tflite", data)), self.reference)

    def attempt(self, candidate: Candidate, origin: str, data: bytes | None = None) -> Tried:
        """Build and measure a candidate, or return its measurement if there is one.

        Args:
            origin: The part of the search that proposes it.
            data: The candidate's file, if it is built already.

        Raises:
            Cancelled: The search was cancelled. Other errors are reported in the `error` of the result.
        """
        tried = self._measured.get(candidate)
        try:
            if tried is not None:
                self._check_file(tried.bytes, tried.float_operators)
            self._check_wide(candidate)
            if tried is None or self._is_incomplete(tried):
                tried = self._measured[candidate] = self._measure(candidate, data)
                self.journal.add({"tried": encode(tried)})
        except OverLimit as error:
            return Tried(candidate, origin, error=str(error))
        within = self._keeps_objects(tried) and self._is_fast_enough(tried)
        return replace(tried, origin=origin, search_loss=self._loss(tried), within=within)

    def _check_wide(self, candidate: Candidate) -> None:
        """Raise OverLimit if a candidate has more operators in 16 bits than the budget allows."""
        limit = self.budget.max_wide
        if limit is not None:
            whole = recipe_of(candidate.recipe).activation_bits == 16
            if whole or len(candidate.wide_operators) > limit:
                count = "All operators" if whole else plural(len(candidate.wide_operators), "operator")
                raise OverLimit(f"{count} in 16 bits, where at most {limit} may be.")

    def _check_file(self, size: int, in_float: Sequence[str]) -> None:
        """Raise OverLimit if a file is larger than the budget allows, or computes in float where it must not.

        in_float: kinds of the operators in float.
        """
        if self.integers_only and in_float:
            raise OverLimit(f"{', '.join(in_float)} in float, where only integers may be.")
        allowed = self.budget.bytes_allowed(self._size_of_plain() if self.budget.is_relative else 0)
        if allowed is not None and size > allowed:
            raise OverLimit(f"{size:,} bytes, where at most {allowed:,} may be.")

    def _size_of_plain(self) -> int:
        """Size of the plain int8 file in bytes. Raises the same errors as `build`."""
        if self._plain_bytes is None:
            self._plain_bytes = len(self.build(Candidate("int8")))
        return self._plain_bytes

    def _is_incomplete(self, tried: Tried) -> bool:
        """Whether a measurement of an earlier run lacks what this budget needs."""
        if tried.error:
            return False
        needs_cycles = self.budget.max_cycles is not None and self._keeps_objects(tried)
        lacks_cycles = needs_cycles and tried.npu != self.budget.accelerator
        return lacks_cycles or (self.prefer == LATENCY and tried.speed is None)

    def _keeps_objects(self, tried: Tried) -> bool:
        """Whether the loss is within the budget, and the images are not flooded."""
        loss = self._loss(tried)
        return loss is not None and loss <= self.budget.limit and not tried.floods

    def _is_fast_enough(self, tried: Tried) -> bool:
        """Whether the candidate keeps a budget of cycles, if there is one."""
        limit = self.budget.max_cycles
        return limit is None or (tried.npu_cycles is not None and tried.npu_cycles <= limit)

    def _measure(self, candidate: Candidate, data: bytes | None) -> Tried:
        """Measure a candidate; fields that depend on the budget or on its origin are not set."""
        start = time.monotonic()
        tried = Tried(candidate, "")
        try:
            data = data or self.build(candidate)
            tried = replace(tried, bytes=len(data), digest=digest_of(data))
            model = self.loaded(candidate, data)
            tried = replace(tried, scheme=str(model.scheme), float_operators=float_operators(model.inspection.graph))
            self._check_file(tried.bytes, tried.float_operators)
            self.context.progress.step(f"Candidate {len(self._measured) + 1}: measuring {candidate.name}")
            detected = self.search.detect(self.context, [model])
            measured = self.context.wait(self.search.measure(self.context, model, detected, resamples=0))
            tried = replace(tried, ap=measured.ap, agreement=measured.agreement, false_alarms=measured.false_alarms)
            tried = replace(tried, floods=floods(self.reference_there, measured), quality=measured.soft_agreement)
            tried = replace(tried, speed=self._speed(model) if self.prefer == LATENCY else None)
            if self.budget.max_cycles is not None and self._keeps_objects(tried):
                accelerator = self.budget.accelerator
                tried = replace(tried, npu=accelerator, npu_cycles=npu_cost(model, accelerator).cycles)
        except (Cancelled, OverLimit):
            raise
        except QvizError as error:
            tried = replace(tried, error=str(error))
        return replace(tried, seconds=time.monotonic() - start)

    def _speed(self, model: LoadedModel) -> float:
        """Median latency of the reference divided by that of the model."""
        subjects = [
            Subject(one.blob, one.settings, one.inspection.graph.input_tensors()[0]) for one in (self.reference, model)
        ]
        wall = self.context.wait(self.context.engine.submit(latency_job, subjects, 1, ROUNDS, SECONDS, 0)).wall
        first, second = sorted(wall[:, 0])[len(wall) // 2], sorted(wall[:, 1])[len(wall) // 2]
        return float(first / max(second, 1e-9))

    def _loss(self, tried: Tried) -> float | None:
        """The candidate's loss in the budget's measure; None if it is unknown."""
        if self.budget.measure != AP:
            return None if tried.agreement is None else 1 - tried.agreement
        reference = self.reference_there.ap
        return None if tried.ap is None or reference is None else reference - tried.ap

    @property
    def max_loss(self) -> float:
        """The loss of a variant that detects nothing, in the budget's measure."""
        return (self.reference_there.ap or 0.0) if self.budget.measure == AP else 1.0

    def sets(self, candidate: Candidate, find: Callable[[], Sets]) -> Sets:
        """The sets of operators worth keeping in float for a candidate, from `find`, which is called once for each."""
        if candidate not in self._sets:
            self._sets[candidate] = find()
            self.journal.add({"candidate": encode(candidate), "sets": encode(self._sets[candidate])})
        return self._sets[candidate]


def journal_of(
    folder: Path | None, source: Source, images: Sequence[EncodedImage], search: Evaluator, score: float
) -> Journal:
    """The journal that all rescues of this source on these images share; it stores nothing if `folder` is None."""
    if folder is None:
        return Journal(None)
    identity = [
        code_digest(*CODE, "features"),
        source.digest,
        source.float_digest,
        source.settings.to_json(),
        [image.digest for image in images],
        search.digest,
        score,
    ]
    key = digest_of_json(identity)
    return Journal(folder / f"{key[:32]}.jsonl")
