"""The result of a diagnosis. Shares and agreements are in [0, 1]; operators are indices in the variant's file, from 0.

explained   share of the lost agreement that comes back if this cause alone is removed, measured by running the images
            again; None if it cannot be measured
cause       something whose removal brings back at least `MIN_EXPLAINED`
suspect     something in the file or its figures that looks wrong, but whose removal brings back less
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from qviz.features.building.calibration import DEFAULT_METHOD
from qviz.features.building.result import Built
from qviz.features.inspection.warning import Warning
from qviz.features.tracing.result import Trace
from qviz.features.what_if import WhatIf
from qviz.formatting import plural, share
from qviz.result import Result

MIN_EXPLAINED = 0.05
"""Minimum share of the lost agreement that comes back without a cause; a fault with less is only a suspect."""
GOOD = 0.95
"""A variant with at least this agreement has lost little."""
MIN_CHANGED, LITTLE_LOST = 5, 0.9
"""If fewer than MIN_CHANGED objects are lost, spurious or relabelled and the agreement is at least LITTLE_LOST, the
changes may be due to chance, and no cause is sought."""
HALF = 0.5
"""If the causes together bring back less than this share of the loss, the verdict says that the rest is unexplained."""

TITLES: Mapping[str, str] = {
    "not_same_network": "It is not the same network",
    "other_input_size": "It reads images of another size",
    "settings": "Its images are prepared differently",
    "input_range": "The range of the input is too small",
    "clipping": "A range is too small",
    "shared_scale": "Values of different size share one scale",
    "weights": "Rounding of weights costs objects",
    "bias": "Biases are cut off",
    "activations": "Activations are too coarse",
}
"""Code of a cause -> its title."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One figure that was measured, e.g. `clipped`, 50, `%`, `operator 0 on 2 images`."""

    figure: str
    value: float | None
    unit: str
    where: str


@dataclass(frozen=True, slots=True)
class Cause:
    """A confirmed cause, or a suspect that proved not to be a cause.

    Attributes:
        code: A key of `TITLES`.
        subject: Name of its operators in a sentence, e.g. `operators 8-24`; empty if it is outside the network.
        operators: Indices of its operators; empty only if it is outside the network.
        explained, low, high: Share of the lost agreement that comes back, and its 95 % interval over images.
        after_others: Share that comes back in addition to the causes confirmed before, if this is more than
            `explained`; else None.
    """

    code: str
    subject: str
    sentence: str
    operators: tuple[int, ...]
    explained: float | None
    low: float | None = None
    high: float | None = None
    after_others: float | None = None
    evidence: tuple[Evidence, ...] = ()

    JSON_ALSO: ClassVar = ("title",)

    @property
    def title(self) -> str:
        """What is wrong, in a few words."""
        return TITLES[self.code]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An agreement or AP in [0, 1], predicted or measured, with its 95 % interval over images.

    Attributes:
        measure: `agreement` or `ap`.
        images: Number of images.
    """

    measure: str
    value: float | None
    low: float | None
    high: float | None
    images: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How qviz builds a cure: the arguments of `quantize`.

    Attributes:
        options: Options of the recipe, as for `Options.of`.
        cures: Names in `qviz.features.building.cures.CURES`.
    """

    recipe: str
    options: Mapping[str, str] = field(default_factory=dict)
    ranges: str = DEFAULT_METHOD
    cures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpuPrice:
    """The time of one image on an NPU, as its compiler Vela estimates it, in milliseconds.

    Attributes:
        variant_ms: Time of the variant.
        variant_cpu_operators: Number of its operators that are left to the CPU, whose time is not counted.
        operators_ms: Time of the variant's operators that the cure changes; None if the NPU runs none of them.
        cure_ms, cure_cpu_operators: The same of the built file; None before it is built.
    """

    accelerator: str
    variant_ms: float
    variant_cpu_operators: int
    operators_ms: float | None = None
    cure_ms: float | None = None
    cure_cpu_operators: int | None = None


@dataclass(frozen=True, slots=True)
class Cure:
    """One way to bring back what was lost.

    Attributes:
        code: Name of the cure, see `cures.CURES`.
        sentence: What is done.
        command: The command that does it; empty if qviz has none.
        answers: Codes of the causes that it removes.
        bytes: Size of the file, an expected size before it is built; None if unknown.
        predicted: Estimate from running the images with the cause removed, without building the file; None if this does
            not predict the effect of the cure.
        measured: Estimate for the built file; None before it is built.
        integers_only: Whether the file computes on integers alone.
        plan: How qviz builds it; None if qviz cannot build it.
        npu: Its time on an NPU, if one was chosen.
    """

    code: str
    sentence: str
    command: str
    answers: tuple[str, ...]
    bytes: int | None
    predicted: Estimate | None = None
    measured: Estimate | None = None
    integers_only: bool = False
    plan: Plan | None = None
    npu: NpuPrice | None = None

    JSON_NAMES: ClassVar = {"plan": None}


@dataclass(frozen=True, slots=True)
class SameNetwork:
    """Whether the variant was made from the reference: `yes`, `no` or `unknown`, and why."""

    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of a limit that the user gave.

    Attributes:
        measure: `agreement` or `ap`.
        limit: Minimum agreement, or maximum loss of AP.
        value: The measured agreement or loss.
    """

    measure: str
    limit: float
    value: float | None
    passed: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diagnosis(Result):
    """Why one variant loses objects, and what helps.

    Attributes:
        images: Number of images on which everything was measured.
        images_given: Number of images that were given.
        operators: Number of operators of the variant.
        variant_bytes: Size of the variant's file.
        agreement: Agreement with the reference; None before it is measured, or if neither model has an object.
        objects, lost, spurious: Numbers of objects of the reference, of those that the variant lost, and of those that
            it adds.
        changed: Number of lost, spurious and relabelled objects together.
        causes: The causes, by descending `explained`.
        suspects: Faults that looked wrong and were tried, but bring back nearly nothing.
        together: Share of the lost agreement that comes back if all causes inside the network are removed together.
        whole: Share of the lost agreement that comes back if every operator that can run in float does.
        cures: The cures, the best first.
        traces: Traces of the objects that show the loss best, with the operators at which they are lost.
        experiment: The sets of operators that were run in float; other pages show it, too.
        complete: False for a partial result.
        built: The file of the best cure, if it was built and is better than the variant on other images.
        before: Estimate for the variant on the images on which built cures were measured; None if none was built.
        gate: The limit that the user gave, and whether it is kept; None without a limit.
        warnings: Reasons to doubt the comparison as a whole.
        skipped: One sentence per image that cannot be read.
    """

    reference: str
    variant: str
    images: int
    images_given: int
    operators: int
    same_network: SameNetwork
    agreement: float | None = None
    objects: int = 0
    lost: int = 0
    spurious: int = 0
    changed: int = 0
    causes: tuple[Cause, ...] = ()
    suspects: tuple[Cause, ...] = ()
    together: float | None = None
    whole: float | None = None
    cures: tuple[Cure, ...] = ()
    traces: tuple[Trace, ...] = ()
    experiment: WhatIf | None = None
    complete: bool = False
    warnings: tuple[Warning, ...] = ()
    skipped: tuple[str, ...] = ()
    gate: Gate | None = None
    before: Estimate | None = None
    built: Built | None = None
    variant_bytes: int = 0

    ROWS: ClassVar = "causes"
    JSON_NAMES: ClassVar = {"experiment": None, "built": None}
    JSON_ALSO: ClassVar = ("verdict", "cure_holds")

    @property
    def data(self) -> bytes | None:
        """The .tflite file of the best cure; None if none was built, or if it is not better on other images."""
        return None if self.built is None else self.built.data

    @property
    def cure_holds(self) -> bool | None:
        """Whether the best built cure is better than the variant on images that were used for nothing else.

        None if no cure was built.
        """
        return None if self.before is None else self.built is not None

    @property
    def verdict(self) -> str:
        """What is lost and why, in one or two sentences."""
        if self.same_network.value == "no":
            return self.same_network.reason
        if self.agreement is None:
            return self._without_agreement
        if self.agreement >= 1:
            return f"{self.variant} has every object of {self.reference} on {self._on}, and no others."
        if self.too_few and self.complete:
            return f"{self._loss} So few are no evidence of a fault: rounding moves objects near the threshold."
        return f"{self._loss} {self._why}"

    @property
    def too_few(self) -> bool:
        """Whether too few objects changed to look for a cause."""
        return self.changed < MIN_CHANGED and (self.agreement or 0.0) >= LITTLE_LOST

    @property
    def _on(self) -> str:
        return plural(self.images, "image")

    @property
    def _without_agreement(self) -> str:
        if not self.complete:
            return f"Running {self.variant} and {self.reference}."
        return f"Neither {self.variant} nor {self.reference} finds an object on {self._on} at this confidence."

    @property
    def _loss(self) -> str:
        counts = [f"loses {self.lost} of {plural(self.objects, 'object')}"] if self.lost else []
        counts += [f"finds {self.spurious} that {self.reference} does not"] if self.spurious else []
        what = " and ".join(counts) or f"shows some objects of {self.reference} as another class"
        return f"{self.variant} {what} on {self._on}."

    @property
    def _why(self) -> str:
        if not self.causes:
            return self._unknown if self.complete else "Why is not known yet."
        first, *others = self.causes
        text = first.sentence
        if others:
            text += f" {plural(len(others), 'further cause')} below."
        if self.together is not None and self.together < HALF and first.explained is not None:
            text += f" {share(1 - max(self.together, 0.0))} of the loss has no confirmed cause."
        return text

    @property
    def _unknown(self) -> str:
        whole = "" if self.whole is None else f"; all of them together bring back {share(max(self.whole, 0.0))}"
        limit = share(MIN_EXPLAINED)
        text = f"Why is not known: no operator or group of operators that was tried brings back {limit} of it{whole}."
        if self.agreement is not None and self.agreement >= GOOD:
            text += " A loss this small is ordinary rounding of objects near the threshold."
        return text
