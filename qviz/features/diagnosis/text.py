"""A diagnosis in sentences: the finding, and one line per cause, suspect and cure."""

from __future__ import annotations

from qviz.features.cost.npu import NpuCost
from qviz.features.diagnosis.result import Cause, Cure, Diagnosis, Estimate, Evidence
from qviz.formatting import UNKNOWN, interval, megabytes, milliseconds, plural, points, score, share, three

MIN_BYTES = 1000
"""If the file of a cure is larger by fewer bytes than this, no price per megabyte is shown."""
MIN_SHARE = 0.005
"""If less than this share of the lost agreement comes back, the text says that nothing comes back."""


def verdict(result: Diagnosis) -> str:
    """What is lost and why."""
    return result.verdict


def note(result: Diagnosis) -> str:
    """Whether both models are the same network, and how the shares were measured."""
    same = {"yes": "Same network: yes.", "no": "Same network: no.", "unknown": "Same network: not known."}
    on = f"{result.images} of {result.images_given}" if result.images < result.images_given else f"{result.images}"
    parts = [same[result.same_network.value], result.same_network.reason if result.same_network.value != "no" else ""]
    how = "by taking each cause away and running the images again"
    state = "Measured" if result.complete else "So far measured" if result.causes else "Being measured"
    parts.append(f"{state} on {on} images {how}.")
    return " ".join(part for part in parts if part)


def brings_back(cause: Cause) -> str:
    """`82% comes back`, with its interval; `nothing comes back` below half a per cent; `not measured` if unknown."""
    if cause.explained is None:
        return "not measured"
    bounds = "" if cause.low is None or cause.high is None else f" [{100 * cause.low:.0f}, {100 * cause.high:.0f}]"
    extra = "" if cause.after_others is None else f", {share(cause.after_others)} after the others"
    amount = "nothing" if cause.explained < MIN_SHARE else share(cause.explained)
    return f"{amount} comes back{bounds}{extra}"


def figure_text(row: Evidence) -> str:
    """`16.8 dB lowest local SQNR, operator 12 (CONV_2D) on 2 images`."""
    if row.value is not None and row.value < 100 * MIN_SHARE and row.figure.startswith("comes back"):
        return f"nothing {row.figure}, {row.where}"
    if row.value is not None and row.unit == "%":
        return f"{share(row.value / 100)} {row.figure}, {row.where}"
    value = UNKNOWN if row.value is None else f"{row.value:.3g}"
    return " ".join(f"{value} {row.unit} {row.figure}, {row.where}".split())


def estimate(value: Estimate | None) -> str:
    """`0.93 [0.90, 0.96]` for an agreement, `30.4 [29.1, 31.8]` for an AP; a dash if there is no value."""
    if value is None or value.value is None:
        return UNKNOWN
    if value.measure == "ap":
        return f"{points(value.value)} {interval(value.low, value.high)}".rstrip()
    bounds = "" if value.low is None or value.high is None else f" [{score(value.low)}, {score(value.high)}]"
    return f"{score(value.value)}{bounds}"


def cure_figures(result: Diagnosis, cure: Cure) -> list[str]:
    """`agreement 0.31 → 0.88 [0.81, 0.94] predicted`, `5.37 MB`, `integers only`; unknown figures are left out."""
    value = cure.measured or cure.predicted
    how = "measured" if cure.measured else "predicted"
    before = result.agreement if cure.measured is None else None if result.before is None else result.before.value
    if value is None:
        figures = ["agreement known once it is built"] if cure.plan is not None else []
    else:
        start = "" if before is None else f"{points(before) if value.measure == 'ap' else score(before)} → "
        figures = [f"{'AP' if value.measure == 'ap' else 'agreement'} {start}{estimate(value)} {how}"]
    figures += [megabytes(cure.bytes)] if cure.bytes is not None else []
    figures += price_figures(result, cure)
    if cure.command:
        figures.append("integers only" if cure.integers_only else "needs kernels for float")
    return figures


def price_figures(result: Diagnosis, cure: Cure) -> list[str]:
    """What the cure brings back for each additional megabyte and millisecond, as far as these are known.

    `0.45 per MB more`, `23.6 → 26.7 ms on ethos-u55-256, 0.18 per ms more`; before the cure is built, the time of its
    operators: `its operators take 1.50 of 23.6 ms on ethos-u55-256`.
    """
    gain = _gain(result, cure)
    more = (cure.bytes or 0) - result.variant_bytes if cure.bytes and result.variant_bytes else 0
    figures = [f"{_two(gain / (more / 1e6))} per MB more"] if gain > 0 and more >= MIN_BYTES else []
    npu = cure.npu
    if npu is None:
        return figures
    if npu.cure_ms is None:
        if npu.operators_ms is not None:
            of_variant = f"{three(npu.operators_ms)} of {milliseconds(npu.variant_ms)}"
            figures.append(f"its operators take {of_variant} on {npu.accelerator}")
        return figures
    text = f"{three(npu.variant_ms)} → {milliseconds(npu.cure_ms)} on {npu.accelerator}"
    slower = npu.cure_ms - npu.variant_ms
    on_cpu = (npu.cure_cpu_operators or 0) - npu.variant_cpu_operators
    if on_cpu > 0:
        text += f", {plural(on_cpu, 'operator')} more on the CPU, not counted"
    elif gain > 0 and slower > 0:
        text += f", {_two(gain / slower)} per ms more"
    return [*figures, text]


def _two(value: float) -> str:
    """At most two significant figures, never with an exponent: 0.45, 1, 110."""
    return f"{float(f'{value:.2g}'):,.12g}"


def _gain(result: Diagnosis, cure: Cure) -> float:
    """Agreement or AP (in points) that the cure brings back; 0 if it is not known."""
    value = cure.measured or cure.predicted
    before = result.agreement if cure.measured is None else None if result.before is None else result.before.value
    if value is None or value.value is None or before is None:
        return 0.0
    return (value.value - before) * (100 if value.measure == "ap" else 1)


def best_cure(result: Diagnosis) -> Cure | None:
    """The cure to offer first; None if no cure has a command, or the best built one is not better on other images."""
    if result.cure_holds is False:
        return None
    return next((cure for cure in result.cures if cure.command), None)


def no_cure(result: Diagnosis) -> str:
    """A sentence that says so if the best built cure is not better than the variant on other images; else empty."""
    if result.cure_holds is not False or result.before is None:
        return ""
    name = "AP" if result.before.measure == "ap" else "agreement"
    return (
        f"No cure was found that holds on other images: on {result.before.images} images that nothing else used, the"
        f" best one has an {name} of {estimate(result.cures[0].measured)}, {result.variant} one of"
        f" {estimate(result.before)}."
    )


def measured_sentence(names: tuple[str, str], agreements: tuple[float | None, float | None], images: int) -> str:
    """A sentence on the measured agreement of a built cure and of the variant, and whether the cure helps.

    names, agreements: (of the variant, of the cure); images: number of images.
    """
    (variant, cure), (before, after) = names, agreements
    text = (
        f"Measured: {cure} has an agreement of {score(after)} on {plural(images, 'image')},"
        f" where {variant} has {score(before)}."
    )
    helps = after is not None and before is not None and after > before
    return text if helps else f"{text} So this cure does not help."


def built_price(sizes: tuple[int, int], costs: tuple[NpuCost | None, NpuCost | None]) -> str:
    """Size and time on an NPU (if known) of a built cure, each compared with that of the variant."""
    before, after = costs
    text = f"It has {megabytes(sizes[1])} instead of {megabytes(sizes[0])}"
    if before is None or after is None:
        return f"{text}."
    on_cpu = after.cpu_operators - before.cpu_operators
    left = f", with {plural(on_cpu, 'operator')} more on the CPU, not counted" if on_cpu > 0 else ""
    return (
        f"{text}, and takes {milliseconds(after.ms)} instead of {milliseconds(before.ms)} on {after.accelerator}{left}."
    )


def why(result: Diagnosis | None) -> str:
    """A sentence for other pages with the largest cause. If there is no cause: the verdict, or empty while it runs."""
    if result is None or not result.causes:
        return "" if result is None or not result.complete else result.verdict
    return result.causes[0].sentence


def what_helps(result: Diagnosis | None) -> str:
    """A sentence for other pages with the best cure and its measured or predicted effect; empty if there is none."""
    if sentence := no_cure(result) if result is not None else "":
        return sentence
    cure = None if result is None else best_cure(result)
    if cure is None:
        return ""
    value = cure.measured or cure.predicted
    how = "measured" if cure.measured else "predicted"
    return cure.sentence if value is None else f"{cure.sentence} Agreement {how}: {estimate(value)}."
