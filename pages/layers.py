"""Layers: how much error each layer of a variant adds, and how much has accumulated."""

import streamlit as st

from qviz.features.layer_error import panel, panel_detail
from qviz.features.layer_error.outliers import worst_variant
from qviz.features.layer_error.text import layers_verdict
from qviz.features.what_if import panel as naming
from qviz.formatting import plural
from qviz.ui import page, uploads, view

with page.begin("Layers") as here:
    models = here.models
    if models is None or not models.variants or not here.workspace.images:
        page.verdict("Layers are compared between a reference and a variant on images.", "Drop them here.")
        uploads.drop_zone("Models and images")
        st.stop()
    view.show(here.view)
    headline = st.container()
    names = [models.name(variant) for variant in models.variants]
    default = panel.default_variants(models, here.view.variants)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    shown = left.pills("Variants", names, selection_mode="multi", default=default, wrap=True) or default
    local_inputs = right.segmented_control(
        "Inputs for local error",
        ["reference", "variant"],
        default="reference",
        format_func=lambda name: {"reference": "the reference's activations", "variant": "the variant's own"}[name],
    )
    images = panel.images_of(here)
    variants = {name: variant for name, variant in zip(names, models.variants, strict=True) if name in shown}
    results = panel.results_of(here, variants, images, local_inputs or "reference")
    if results is None:
        with headline:
            page.verdict(
                f"Running {plural(len(variants), 'variant')} layer by layer on {plural(len(images), 'image')}."
            )
        st.stop()
    worst = worst_variant(results)
    with headline:
        experiment = naming.experiment(here, variants[worst]) if worst is not None else None
        page.verdict(
            layers_verdict(results, {} if worst is None or experiment is None else {worst: experiment}),
            f"On {plural(len(images), 'image')}. Local: this layer alone. Cumulative: everything up to this layer. SQNR"
            " is 20·log10 of signal over error, in dB; higher is better, 6 dB is a factor of two.",
        )
    rows = panel.rows(results, names)
    choice = panel.chosen(results)
    along, graph, table = st.tabs(["Along the network", "As a graph", "As a table"])
    with along:
        panel.show_chart(list(rows.values()), choice)
    if choice is None:
        st.stop()
    row, variant = rows[choice.variant], variants[choice.variant]
    with graph:
        panel.show_graph(variant, row, choice.order)
    with table:
        panel.show_table(row)
    image = panel.show(here, results, choice)
    panel_detail.show(here, variant, choice.order, image)
