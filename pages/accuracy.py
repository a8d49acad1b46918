"""Accuracy: AP of every model on annotated images, and the loss by class."""

import streamlit as st

from qviz.analysis.verdict import loss_verdict
from qviz.plots.class_loss import class_loss_bars
from qviz.plots.colours import variant_colour
from qviz.ui import accuracy, page, uploads, view

with page.begin("Accuracy") as here:
    dataset, found = here.workspace.dataset, here.models
    if found is None or dataset is None:
        page.verdict(
            "Drop a COCO annotation file to measure accuracy.",
            "Its images must be loaded too: drop them in the same go, as files or as a zip archive.",
        )
        uploads.drop_zone("Annotations and images", key="accuracy")
        st.stop()
    view.show(here.view)
    headline = st.container()
    evaluation = accuracy.evaluated(here, dataset)
    if evaluation is None:
        with headline:
            page.verdict(f"Evaluating {len(found.all)} models on {len(dataset.images)} annotated images …")
        st.stop()

    names = [found.name(model) for model in found.all]
    losses = dict(zip(names[1:], evaluation.losses, strict=True))
    with headline:
        page.verdict(
            loss_verdict(names[0], evaluation.models[0].ap, losses),
            f"{evaluation.dataset}: {evaluation.images} images, {evaluation.annotations} objects. AP is averaged over"
            " IoU .50 to .95 (pycocotools), ×100, higher is better; so few images give no interval yet.",
        )
    table = accuracy.scores(evaluation.models, names, evaluation.losses)
    accuracy.show_table(table)
    for sentence in evaluation.skipped:
        st.text(f"Left out: {sentence}")

    if losses:
        worst = max(losses, key=lambda name: losses[name].ap.value or 0.0)
        asked = here.view.variants[0] if here.view.variants and here.view.variants[0] in losses else worst
        st.subheader("Loss by class")
        chosen = st.segmented_control("Variant", list(losses), default=asked, key=f"loss-{asked}") or asked
        if chosen != asked:
            view.change(variants=(chosen,))
            st.rerun()
        colour = variant_colour(names.index(chosen) - 1)
        st.plotly_chart(class_loss_bars(losses[chosen], colour), width="stretch", key=f"class-loss-{chosen}")
    st.subheader("AP by class")
    accuracy.show_table(accuracy.class_rows(evaluation, names))
    st.subheader("Another dataset")
    uploads.drop_zone("Annotations and images", key="accuracy")
