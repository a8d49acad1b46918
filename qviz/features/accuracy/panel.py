"""The Accuracy page except its tabs: the evaluation and its progress, the headline, the choice of variant and class."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from qviz.chart_style import colours
from qviz.context import Context
from qviz.features.accuracy import Evaluation, LossDetail, evaluate, panel_tables, text
from qviz.features.accuracy.ap import VariantLoss, evidence
from qviz.features.accuracy.dataset_health import sentence_of
from qviz.features.accuracy.plot import variant_losses
from qviz.features.accuracy.truth import REMARK
from qviz.features.inspection.text import headline as with_origin
from qviz.features.settings import guess_for
from qviz.formatting import as_text, plural
from qviz.job import Job
from qviz.structures import Dataset, DatasetProblem
from qviz.ui import clicks, dataset_choice, jobs, page, requested, server, view
from qviz.ui.dataset_choice import Source
from qviz.ui.jobs import Work
from qviz.ui.page import Page
from qviz.ui.server import Models

KIND = "evaluate"
MAX_REMARKS = 8


def evaluation_key(models: Models, digest: str, reference_as_truth: bool = False) -> Hashable:
    """The key of an evaluation among the jobs of this server. digest: digest of the dataset."""
    return digest, reference_as_truth, models.identities


def evaluation(models: Models, dataset: Dataset, digest: str, reference_as_truth: bool = False) -> Job[Evaluation]:
    """The job that evaluates these models on this dataset. It is started only once per server."""

    def run(context: Context) -> Evaluation:
        ready = guess_for(context, models.all, dataset)
        return evaluate(context, ready, dataset, reference_as_truth=reference_as_truth)

    amount = len(dataset.images) * len(models.all)
    work = Work(jobs.subject_of(models.reference.digest), amount)
    return jobs.start(KIND, evaluation_key(models, digest, reference_as_truth), run, "Detecting", "images", work=work)


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """An evaluation with the short names of its models, the reference first, and their colours."""

    evaluation: Evaluation
    source: Source
    names: tuple[str, ...]

    @property
    def losses(self) -> Mapping[str, VariantLoss]:
        return dict(zip(self.names[1:], self.evaluation.losses, strict=True))

    @property
    def details(self) -> Mapping[str, LossDetail]:
        return dict(zip(self.names[1:], self.evaluation.details, strict=True))

    @property
    def colours(self) -> list[str]:
        return colours(len(self.names))

    def colour(self, name: str) -> str:
        return self.colours[self.names.index(name)]


def offer_reference_as_truth() -> None:
    """Offer to use the reference's detections as ground truth if nothing is annotated, and explain the bias."""
    page.verdict("Nothing is annotated: drop annotations to measure accuracy, or use the reference as truth.")
    st.text(_bias())
    agree = partial(requested.keep, dataset_choice.AGREED, True)
    clicks.button(st, "Evaluate with the reference as truth", agree, "accuracy-agree", st.rerun, type="primary")


def _bias() -> str:
    """A sentence on the bias of using the reference's detections as ground truth."""
    sentence = REMARK.removeprefix("Nothing is annotated: ")  # annotations may exist but be ignored
    return sentence[0].upper() + sentence[1:]


def evaluated(models: Models, source: Source) -> Finding | None:
    """The finished evaluation, or None if it is running, was stopped or has failed."""
    job = evaluation(models, source.dataset, source.digest, source.reference_as_truth)
    if not job.finished:
        count = plural(len(source.dataset.images), "image")
        page.verdict(f"Evaluating {plural(len(models.all), 'model')} on {count} …")
    elif job.cancelled:
        page.verdict(f"Stopped after {job.done} of {len(source.dataset.images)} images.")
    elif job.error is not None:
        page.verdict("The evaluation has failed.")
    key = evaluation_key(models, source.digest, source.reference_as_truth)
    if not jobs.wait(job, "accuracy", partial(jobs.forget, KIND, key)):
        return None
    return Finding(job.future.result(), source, tuple(models.name(model) for model in models.all))


def headline(finding: Finding) -> None:
    """Draw the verdict and the data on which it was measured."""
    result = finding.evaluation
    page.verdict(
        with_origin(
            result.warnings,
            text.finding(result, finding.names),
        ),
        f"{result.dataset}: {plural(result.images, 'image')}, {plural(result.annotations, 'object')}. AP is averaged"
        " over IoU .50 to .95 (pycocotools), ×100, higher is better. In brackets: 95% interval, from a bootstrap over"
        " the images.",
    )
    show_problems(result.problems)
    if result.reference_as_truth:
        st.html(f'<div class="qviz qviz-note"><b>{_bias()}</b></div>')


def show_problems(problems: Sequence[DatasetProblem]) -> None:
    """Draw the reasons to doubt the annotations; harmless facts are in a collapsed section."""
    doubts = [problem for problem in problems if not problem.advice and problem.code != "reference_finds_nothing"]
    for problem in doubts[:MAX_REMARKS]:
        (st.error if problem.serious else st.warning)(as_text(sentence_of(problem)))
    advice = [problem for problem in problems if problem.advice]
    if rest := [*doubts[MAX_REMARKS:], *advice]:
        with st.expander(f"About these annotations: {plural(len(rest), 'remark')}"):
            for problem in rest:
                st.text(sentence_of(problem))


def overview(finding: Finding) -> None:
    """Draw the AP of every model beside the losses with their intervals."""
    left, right = st.columns([2, 1])
    with left:
        panel_tables.show(panel_tables.scores(finding.evaluation, finding.names))
        for row in finding.evaluation.shapes:
            st.caption(row.remark or f"{text.shape_caption(row)}.")
            if not row.remark:
                panel_tables.show(panel_tables.shape_scores(row, finding.names), key=f"accuracy-{row.kind}")
    if finding.losses:
        losses = {name: loss.ap for name, loss in finding.losses.items()}
        with right:
            st.plotly_chart(variant_losses(losses, finding.colours[1:]), width="stretch", key="accuracy-losses")
    skipped = [sentence for sentence in finding.evaluation.other_remarks if sentence != REMARK]
    for sentence in [f"Left out: {sentence}" for sentence in skipped[:MAX_REMARKS]] + server.store_remarks():
        st.text(sentence)


def choose(here: Page, finding: Finding) -> tuple[str, str]:
    """Let the user choose, and return the (variant, class) in view.

    By default these are the variant with the largest loss and its worst class.
    """
    losses = finding.losses
    worst = max(losses, key=lambda name: losses[name].ap.value or 0.0)
    current = next((name for name in here.view.variants if name in losses), worst)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    variant = (
        left.segmented_control(
            "Variant", list(losses), default=current, format_func=as_text, key=f"accuracy-{current}", wrap=True
        )
        or current
    )
    if variant != current:
        view.change(variants=(variant,))
        st.rerun()
    rows = {row.label: row for row in losses[variant].per_class}
    label = view.current().label
    if label and label not in rows:
        page.unknown(f"the class {label}, which has no objects here")
    if label not in rows:
        label = _worst_class(losses[variant])
    with right:
        st.selectbox(
            "Class",
            list(rows),
            index=list(rows).index(label),
            format_func=lambda name: f"{name} · {rows[name].truths}",
            key=f"accuracy-class-{variant}-{label}",
            on_change=clicks.callback(lambda: choose_class(st.session_state[f"accuracy-class-{variant}-{label}"])),
        )
    return variant, label


def _worst_class(loss: VariantLoss) -> str:
    """The class with the strongest evidence of a loss."""
    return min(loss.per_class, key=lambda row: evidence(row.loss)).label


def choose_class(label: str) -> None:
    """Make this the class in view."""
    view.change(label=label)
