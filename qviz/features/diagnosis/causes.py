"""Derive causes and suspects from trials. Further experiments and the layers' figures show what kind of fault each is.

A trial is a cause if it brings back at least `MIN_EXPLAINED` of the lost agreement, either alone or in addition to the
causes that are confirmed already. A trial that shares most of its operators with a confirmed cause is left out, because
it would bring back the same objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from qviz.features.diagnosis.result import MIN_EXPLAINED, Cause, Evidence
from qviz.features.diagnosis.trials import Trial, Trials, chosen_sets
from qviz.features.inspection.warning import Warning
from qviz.features.layer_error.metrics import LayerError
from qviz.features.what_if import WhatIf
from qviz.features.what_if.sets import Orders
from qviz.formatting import plural, share, small_share

MAX_CAUSES = 4
ENOUGH = 0.8
"""If the causes together bring back at least this share of the lost agreement, the operators before them are not
tried."""
MAX_SUSPECTS, MAX_GROWING = 4, 1
"""Maximum number of suspects that are named, and of suspects whose only sign is a growing error. Every network has some
operators at which the error grows."""
MIN_FALL_DB = 6.0
"""An operator at which the SQNR falls by at least this many dB looks wrong, because 6 dB double the error."""
FINE_WEIGHTS_DB = 35.0
"""8-bit weights with at least this SQNR in dB have only the usual rounding error."""
UNUSED = 0.5
"""If at least this share of a range has no values, the range is called too wide."""
COARSE_CHANNEL_DB, ZERO_CHANNEL_DB = 15.0, 1.0
"""SQNR in dB of one output channel of the weights. Below COARSE_CHANNEL_DB, the channel is named as the fault; below
ZERO_CHANNEL_DB, its weights are said to be rounded to zero."""
SHARED = ("class_index_shares_scale", "boxes_share_scale", "shared_concat_scale")
"""Codes of the warnings that values of different size share one scale."""
RANGES = ("sigmoid_saturated", "scores_below_one")
"""Codes of the warnings that a range ends too early."""
SUSPICIOUS = ("range", "join", "layer", "lint", "input")
"""Kinds of trials that are reported as suspects if something about them looks wrong but they are not a cause."""


class Confirmed:
    """Causes and suspects in the order in which they were confirmed.

    Attributes:
        trials: The trials of the causes.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self.trials: list[Trial] = []
        self.causes: list[Cause] = []
        self.suspects: list[Cause] = []

    @property
    def operators(self) -> Orders:
        """The operators of all causes together."""
        return frozenset(order for trial in self.trials for order in trial.orders)

    def add(self, trial: Trial) -> None:
        """Add a trial as a cause if it brings back enough, or else as a suspect if something about it looks wrong."""
        if any(self._covers(other, trial) for other in self.trials):
            return
        after: float | None = None
        if trial.explained < MIN_EXPLAINED and self.trials and trial.kind in SUSPICIOUS:
            before, both = self._trials.together(self.trials), self._trials.together([*self.trials, trial])
            gain, low = self._trials.gain(before, both)
            after = gain if low is not None and low > 0 else None
        by_chance = bool(self.trials) and after is None and (trial.low or 0.0) <= 0
        if max(trial.explained, after or 0.0) >= MIN_EXPLAINED and not by_chance:
            if len(self.causes) < MAX_CAUSES:
                self.trials.append(trial)
                self.causes.append(cause_of(self._trials, trial, after))
        elif trial.kind in SUSPICIOUS and len(self.suspects) < MAX_SUSPECTS:
            self._add_suspect(suspect_of(self._trials, trial))

    def add_makers(self) -> None:
        """If much of the agreement stays lost, look for one more cause among the operators directly before the causes.

        The operator that brings back most in addition is added. Two consecutive faults hide each other: if only the
        weights are corrected, they still multiply values that are too coarse.
        """
        before = self._trials.together(self.trials) if self.trials else None
        if before is None or before.explained >= ENOUGH or len(self.causes) >= MAX_CAUSES:
            return
        makers = self._trials.makers(before.orders)
        self._trials.prepare(before.orders | orders for orders in makers)
        rows = [self._trials.of_layer(orders) for orders in makers]
        gains = [self._trials.gain(before, self._trials.together([*self.trials, row])) for row in rows]
        (gain, low), trial = max(zip(gains, rows, strict=True), key=lambda one: one[0][0], default=((0.0, None), None))
        if trial is not None and gain >= MIN_EXPLAINED and low is not None and low > 0:
            self.trials.append(trial)
            self.causes.append(cause_of(self._trials, trial, gain))

    def _covers(self, other: Trial, trial: Trial) -> bool:
        """Whether two trials share at least half of the operators of the smaller one."""
        shared = len(other.orders & trial.orders)
        return shared >= 0.5 * min(len(other.orders), len(trial.orders))

    def _add_suspect(self, suspect: Cause | None) -> None:
        if suspect is None or any(not set(suspect.operators).isdisjoint(other.operators) for other in self.suspects):
            return
        growing = sum(other.code == "activations" for other in self.suspects)
        if suspect.code != "activations" or growing < MAX_GROWING:
            self.suspects.append(suspect)

    @property
    def sorted_causes(self) -> tuple[Cause, ...]:
        return tuple(sorted(self.causes, key=lambda cause: -(cause.explained or 0.0)))


def confirmed(trials: Trials, experiment: WhatIf, warnings: Iterable[Warning]) -> Confirmed:
    """The causes and suspects. Tried in this order: the set that the experiment names, warnings, the other sets."""
    result = Confirmed(trials)
    named, others = chosen_sets(experiment)
    exact_input = trials.of_input()
    about_operators = [warning for warning in warnings if warning.operators]
    trials.prepare(map(trials.orders_of, about_operators))
    linted = [trials.of_warning(warning) for warning in about_operators]
    first = [*([trials.of_set(named)] if named is not None else []), *([exact_input] if exact_input else []), *linted]
    for trial in sorted(first, key=lambda trial: -trial.explained):
        result.add(trial)
    causes = result.operators
    trials.prepare(frozenset(row.orders) | causes for row in others if row.kind in SUSPICIOUS)
    for row in others:
        result.add(trials.of_set(row))
    result.add_makers()
    return result


# ---- what kind of fault --------------------------------------------------------------------------------------------


def cause_of(trials: Trials, trial: Trial, after: float | None) -> Cause:
    """The confirmed cause for a trial, with its kind, sentence and evidence.

    after: share of the lost agreement that it brings back in addition to the causes before it, or None.
    """
    where = f"on {plural(trials.images, 'image')}"
    evidence = [Evidence("of the lost agreement comes back in float", 100 * trial.explained, "%", where)]
    code, finding, further = _kind(trials, trial)
    if after is not None:
        evidence.append(Evidence("more comes back after the causes above", 100 * after, "%", where))
    explained, low = trial.explained, trial.low
    verb = "brings" if trial.subject.startswith(("operator ", "the input")) else "bring"
    sentence = f"{finding} In float, {trial.subject} {verb} back {share(explained)} of the lost agreement"
    sentence += f", and {share(after)} more once the causes above are gone." if after is not None else "."
    if low is not None and low <= 0 and after is None:
        sentence += f" {plural(trials.images, 'image')} cannot rule out chance."
    return Cause(
        code,
        trial.subject,
        sentence,
        tuple(sorted(trial.orders)),
        explained,
        low,
        trial.high,
        after,
        (*evidence, *further),
    )


def _kind(trials: Trials, trial: Trial) -> tuple[str, str, list[Evidence]]:
    """(code of the cause, a sentence that says what is wrong, figures)."""
    warning, layer = trial.warning, _worst_layer(trials, trial)
    if warning is not None and warning.code == "saturated_bias":
        return "bias", warning.message, []
    if trial.kind == "input" or _is_input(trials, layer):
        return "input_range", *_clipping(trials, layer, "The quantizer of the input")
    if trial.kind == "range" and layer is not None:
        return "clipping", *_clipping(trials, layer, "The range of its output")
    if warning is not None and warning.code in RANGES:
        return "clipping", warning.message, []
    if warning is not None and warning.code in SHARED:
        return "shared_scale", warning.message, []
    if trial.kind == "join":
        return "shared_scale", f"{_capital(trial.subject)} puts values of different size on one scale.", []
    return _weights_or_activations(trials, trial, layer)


def _weights_or_activations(trials: Trials, trial: Trial, layer: LayerError | None) -> tuple[str, str, list[Evidence]]:
    """The same as `_kind`, decided by running the operators in float with the variant's own weights."""
    if trial.explained < MIN_EXPLAINED:  # a cause only after others: alone, its own weights show nothing
        if layer is not None and _channel_db(layer) < COARSE_CHANNEL_DB:
            return "weights", _weights_sentence(trials, trial), _figures(trials, layer)
        return "activations", _coarse_output(trial, layer), _figures(trials, layer)
    own_trial = trials.with_own_weights(trial)
    where = f"{trial.subject} on {plural(trials.images, 'image')}"
    figures = [Evidence("comes back in float with the variant's own weights", 100 * own_trial.explained, "%", where)]
    figures += _figures(trials, layer)
    if own_trial.explained < 0.5 * trial.explained:
        return "weights", _weights_sentence(trials, trial), figures
    back = f"with the variant's own weights {share(max(own_trial.explained, 0.0))} still comes back"
    return "activations", f"Activations of {trial.subject} have too few steps: {back}.", figures


def _coarse_output(trial: Trial, layer: LayerError | None) -> str:
    unused = None if layer is None else layer.unused_share
    if unused is None or unused < UNUSED:
        return f"Activations of {trial.subject} have too few steps."
    return f"The range of the output of {trial.subject} is too wide: {share(unused)} of it is unused."


def _weights_sentence(trials: Trials, trial: Trial) -> str:
    rows = [trials.layers[order] for order in sorted(trial.orders) if order in trials.layers]
    channel = min(rows, key=_channel_db, default=None)
    if channel is not None and _channel_db(channel) < COARSE_CHANNEL_DB:
        db = _channel_db(channel)
        fault = "are rounded to zero" if db < ZERO_CHANNEL_DB else f"keep only {db:.0f} dB"
        scale = ", as all channels share one scale" if _one_scale(trials, channel.order) else ""
        return f"The weights of output channel {channel.weight_channel} of {channel.name} {fault}{scale}."
    worst = min((row.weight_sqnr_db for row in rows if row.weight_sqnr_db is not None), default=None)
    if worst is None or worst >= FINE_WEIGHTS_DB:
        return f"The ordinary rounding of the weights of {trial.subject} costs objects."
    return f"Weights of {trial.subject} are too coarse ({worst:.0f} dB)."


def _channel_db(layer: LayerError) -> float:
    return math.inf if layer.weight_channel_sqnr_db is None else layer.weight_channel_sqnr_db


def _one_scale(trials: Trials, order: int) -> bool:
    """Whether all output channels of an operator's weights have one scale."""
    constants = [tensor for tensor in trials.graph.op_inputs(trials.graph.ops[order]) if tensor.constant]
    weights = max((one for one in constants if one.quantized), key=lambda one: math.prod(one.shape), default=None)
    return weights is not None and weights.per_tensor is not None


def _clipping(trials: Trials, layer: LayerError | None, start: str) -> tuple[str, list[Evidence]]:
    if layer is None or not layer.clipped_share:
        return f"{start} cannot represent all of its values.", []
    on = f"on {plural(trials.layer_images, 'image')}"
    clipped = Evidence("of its values are clipped", 100 * layer.clipped_share, "%", f"{layer.name} {on}")
    return f"{start} clips {small_share(layer.clipped_share)} of its values {on}.", [clipped]


def _worst_layer(trials: Trials, trial: Trial) -> LayerError | None:
    """The layer of a trial with the most clipping, else with the lowest local SQNR."""
    rows = [trials.layers[order] for order in sorted(trial.orders) if order in trials.layers]
    clipping = [row for row in rows if row.clips]
    if clipping and trial.kind in ("range", "input", "lint"):
        return max(clipping, key=lambda row: row.clipped_share or 0.0)
    local = [row for row in rows if row.local_sqnr_db is not None]
    return min(local, key=lambda row: row.local_sqnr_db or 0.0, default=None)


def _is_input(trials: Trials, layer: LayerError | None) -> bool:
    """Whether a clipping layer is the quantizer of the network's input."""
    if layer is None or not layer.clips or layer.op_kind != "QUANTIZE":
        return False
    return trials.graph.ops[layer.order].inputs[0] in trials.graph.inputs


def _figures(trials: Trials, layer: LayerError | None) -> list[Evidence]:
    if layer is None:
        return []
    where = f"{layer.name} on {plural(trials.layer_images, 'image')}"
    figures = (
        ("lowest local SQNR", layer.local_sqnr_db, "dB"),
        ("weights", layer.weight_sqnr_db, "dB"),
        ("weights, worst output channel", layer.weight_channel_sqnr_db, "dB"),
    )
    return [Evidence(name, value, unit, where) for name, value, unit in figures if value is not None]


# ---- what is none ---------------------------------------------------------------------------------------------------


def suspect_of(trials: Trials, trial: Trial) -> Cause | None:
    """The suspect for a trial that is not a cause: says what looked wrong about it; None if nothing looked wrong."""
    layer = _worst_layer(trials, trial)
    look = next(_looks(trial, layer, trials.layer_images), None)
    if look is None:
        return None
    code, text = look
    where = f"on {plural(trials.images, 'image')}"
    evidence = Evidence("of the lost agreement comes back in float", 100 * trial.explained, "%", where)
    back = share(max(trial.explained, 0.0))
    chance = trial.explained >= MIN_EXPLAINED
    finding = ", which may be chance" if chance else ": not a cause"
    sentence = f"{text}, but in float it brings back {back} of the lost agreement {where}{finding}."
    return Cause(
        code, trial.subject, sentence, tuple(sorted(trial.orders)), trial.explained, trial.low, trial.high, None,
        (evidence,),
    )  # fmt: skip


def _looks(trial: Trial, layer: LayerError | None, images: int) -> Iterator[tuple[str, str]]:
    if trial.warning is not None:
        code = "shared_scale" if trial.warning.code in SHARED else "clipping"
        yield ("bias" if trial.warning.code == "saturated_bias" else code), trial.warning.message.rstrip(".")
    elif trial.kind == "range" and layer is not None and layer.clips:
        on = f"on {plural(images, 'image')}"
        yield "clipping", f"{_capital(layer.name)} clips {small_share(layer.clipped_share or 0.0)} of its values {on}"
    elif trial.kind == "join":
        yield "shared_scale", f"{_capital(trial.subject)} puts values of different size on one scale"
    elif trial.kind == "layer" and layer is not None and (layer.fall_db or 0.0) >= MIN_FALL_DB:
        fall = f"the error grows by {layer.fall_db:.0f} dB"
        yield "activations", f"At {layer.name} {fall}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
