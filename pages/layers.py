"""Layers: what each layer of a variant adds to the error, and what has gathered by there."""

import streamlit as st

from qviz.analysis.verdict import layers_verdict
from qviz.plots.colours import variant_colour
from qviz.plots.layer_error import layer_error_chart
from qviz.ui import layers, page, uploads, view

with page.begin("Layers") as here:
    found = here.models
    if found is None or not found.variants or not here.workspace.images:
        page.verdict("A reference, a variant and an image are needed to follow the error.", "Drop them here.")
        uploads.drop_zone("Models and images", key="layers")
        st.stop()
    view.show(here.view)
    headline = st.container()
    names = [found.name(variant) for variant in found.variants]
    usual = [name for name in here.view.variants if name in names] or names[:2]
    chosen = st.pills("Variants", names, selection_mode="multi", default=usual, label_visibility="collapsed") or usual
    local_inputs = st.segmented_control(
        "A layer alone is fed",
        ["reference", "variant"],
        default="reference",
        format_func=lambda name: {"reference": "the reference's activations", "variant": "the variant's own"}[name],
    )
    images = layers.images_of(here)
    shown = [variant for variant in found.variants if found.name(variant) in chosen]
    jobs = [layers.job(here, variant, images, local_inputs or "reference") for variant in shown]
    if not all(job.future.done() for job in jobs):
        with headline:
            page.verdict(f"Running {len(shown)} variants layer by layer on {len(images)} images …")
        layers.wait_for(jobs)
        st.stop()
    results = {found.name(variant): job.future.result() for variant, job in zip(shown, jobs, strict=True)}
    with headline:
        page.verdict(
            layers_verdict(results),
            f"Over {len(images)} images. Local: the layer alone. Cumulative: what has gathered by there. SQNR is"
            " 20·log10 of signal over error, in dB; higher is better, 6 dB is a factor of two.",
        )
    rows = [(name, errors, variant_colour(names.index(name))) for name, errors in results.items()]
    st.plotly_chart(layer_error_chart(rows), width="stretch", key="layers")
    for name, errors in results.items():
        st.subheader(f"{name}: {errors.paired_share:.0%} of the operators paired")
        layers.show_table(errors, name)
