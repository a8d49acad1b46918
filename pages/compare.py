"""Compare: one image, the reference beside its variants, object by object."""

import streamlit as st

from qviz.errors import QvizError
from qviz.features.comparison import panel as compare
from qviz.features.comparison import panel_strip as image_strip
from qviz.features.comparison.plot import confidence_scatter
from qviz.features.comparison.text import image_verdict
from qviz.features.tracing import panel as trace
from qviz.ui import page, server, uploads, view

with page.begin("Compare") as here:
    found, images = here.models, here.workspace.images
    if found is None or not images:
        page.verdict("Drop a photo to see what each model finds in it.", "JPEG, PNG or WebP, several or a zip archive.")
        uploads.drop_zone("Images")
        st.stop()
    server.results().want(found.all, images)
    server.results().want_previews(images, image_strip.THUMB)

    headline = st.container()
    bar, zone = st.columns([3, 2], vertical_alignment="center")
    with zone:
        uploads.drop_zone("Images")
    with bar:
        overall = [server.compared(found, variant, images, here.view.score) for variant in found.variants]
        variants = compare.choose_variants(here, overall)
    focus = next((row for row in overall if variants and row.digest == variants[0].digest), None)
    order = image_strip.ordered(images, focus)
    image = here.workspace.image_named(here.view.image) or order[0]
    at = next(i for i, other in enumerate(order) if other.digest == image.digest)
    image_strip.image_strip(here, order, image, variants)

    try:
        picture, runs = compare.run_now(here, image, variants)
    except QvizError as error:
        page.verdict(f"{image.name} cannot be shown.", str(error))
        st.stop()
    state = compare.show_viewer(here, image, picture, runs, variants, (at, len(order)))
    seen = compare.heed(state, order, image)
    view.show(seen)

    here_now = [server.compared(found, variant, [image], seen.score) for variant in variants]
    with headline:
        told = image_verdict(here_now[0].name, here_now[0].summary) if here_now else "only the reference is loaded."
        page.verdict(
            f"{image.name}, {told}",
            f"Confidence {seen.score:.2f} and above. Images are ordered by damage; arrow keys step through them.",
        )
    if not here_now:
        st.stop()
    if not here_now[0].images[0].objects:
        st.caption("Nothing to list. Lower the score above the images, or take another image.")
        st.stop()
    objects, name, reference = here_now[0].images[0].objects, here_now[0].name, found.name(found.reference)
    left, right = st.columns([3, 2])
    position = next(i for i, variant in enumerate(found.variants) if variant.digest == variants[0].digest)
    with left:
        st.subheader(f"Objects, {reference} against {name}")
        if text := compare.selected_text(objects, f"v{position}"):
            st.text(text)
        compare.object_table(objects, f"v{position}", key=f"objects-{image.digest[:8]}-{name}-{seen.score}")
    with right:
        st.subheader("Confidence")
        st.plotly_chart(confidence_scatter(objects, reference, name, seen.score), width="stretch", key="confidence")
    trace.show(here, variants[0], image, objects, compare.selected_number(objects, f"v{position}"))
