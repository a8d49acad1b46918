"""Layers: what each layer of a variant adds to the error, and what has gathered by there."""

import streamlit as st

from qviz.features.layer_error import panel as layer_choice
from qviz.features.layer_error import panel as layers
from qviz.features.layer_error import panel_detail as layer_detail
from qviz.features.layer_error import panel_graph as layer_graph
from qviz.features.layer_error import panel_graph as layer_table
from qviz.features.layer_error.text import layers_verdict
from qviz.ui import page, uploads, view

with page.begin("Layers") as here:
    found = here.models
    if found is None or not found.variants or not here.workspace.images:
        page.verdict("A reference, a variant and an image are needed to follow the error.", "Drop them here.")
        uploads.drop_zone("Models and images")
        st.stop()
    view.show(here.view)
    headline = st.container()
    names = [found.name(variant) for variant in found.variants]
    usual = layers.usual(found, here.view.variants)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    shown = left.pills("Variants", names, selection_mode="multi", default=usual, wrap=True) or usual
    local_inputs = right.segmented_control(
        "A layer alone is fed",
        ["reference", "variant"],
        default="reference",
        format_func=lambda name: {"reference": "the reference's activations", "variant": "the variant's own"}[name],
    )
    images = layers.images_of(here)
    models = {name: variant for name, variant in zip(names, found.variants, strict=True) if name in shown}
    jobs = [layers.job(here, variant, images, local_inputs or "reference") for variant in models.values()]
    if not all(job.future.done() for job in jobs):
        with headline:
            page.verdict(f"Running {len(models)} variants layer by layer on {len(images)} images …")
        layers.wait_for(jobs)
        st.stop()
    if layers.stopped(jobs):
        st.stop()
    results = {name: job.future.result() for name, job in zip(models, jobs, strict=True)}
    with headline:
        page.verdict(
            layers_verdict(results),
            f"Over {len(images)} images. Local: the layer alone. Cumulative: what has gathered by there. SQNR is"
            " 20·log10 of signal over error, in dB; higher is better, 6 dB is a factor of two.",
        )
    rows = layers.rows(results, names)
    choice = layer_choice.chosen(results)
    along, graph, table = st.tabs(["Along the network", "As a graph", "As a table"])
    with along:
        layers.show_chart(list(rows.values()), choice)
    if choice is None:
        st.stop()
    row, variant = rows[choice.variant], models[choice.variant]
    with graph:
        layer_graph.show(variant, row, choice.order)
    with table:
        layer_table.layer_table_show(row)
    image = layer_choice.show(here, results, choice)
    layer_detail.show(here, variant, choice.order, image)
