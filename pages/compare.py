"""Compare: the reference and its variants side by side on one image, object by object."""

import streamlit as st

from qviz.errors import QvizError
from qviz.features.comparison import panel, panel_viewer
from qviz.features.comparison.plot import confidence_scatter
from qviz.features.comparison.text import image_verdict
from qviz.features.object_risk import panel as object_risk
from qviz.features.tracing import panel as trace
from qviz.ui import page, server, uploads, view

with page.begin("Compare") as here:
    models = here.require(
        "models images",
        "Drop models and photos to see what each model finds.",
        "A .tflite file and its quantized variants; JPEG, PNG or WebP, several files or a zip archive.",
        "Images",
    )
    images = here.workspace.images
    server.results().want(models.all, images)
    server.results().want_previews(images, panel.THUMBNAIL)

    headline = st.container()
    bar, zone = st.columns([3, 2], vertical_alignment="center")
    with zone:
        uploads.drop_zone("Images")
    with bar:
        compared = [server.compared(models, variant, images, here.view.score) for variant in models.variants]
        variants = panel.choose_variants(here, compared)
    order = panel.by_damage(images, next((c for c in compared if variants and c.digest == variants[0].digest), None))
    image = here.workspace.image_named(here.view.image) or order[0]
    number = panel_viewer.stepped(order, next(i for i, other in enumerate(order) if other.digest == image.digest))
    image = order[number]
    panel.image_strip(here, order, image, variants)

    try:
        picture, runs = panel.run_now(here, image, variants)
    except QvizError as error:
        page.verdict(f"{image.name} cannot be shown.", str(error))
        st.stop()
    panel.run_first(here, images, order, variants)
    state = panel_viewer.show_viewer(here, image, picture, runs, variants, (number, len(order)))
    current = panel_viewer.apply_events(state)
    view.show(current)

    note = (
        f"Confidence {current.score:.2f} and above. Images are sorted by lost objects, then by other changes; arrow"
        " keys step through them."
    )
    if not variants:
        with headline:
            page.verdict(f"{image.name}: only the reference is loaded.", note)
        st.stop()
    focus = server.compared(models, variants[0], [image], current.score)
    objects, name, reference = focus.images[0].objects, focus.name, models.name(models.reference)
    with headline:
        page.verdict(f"{image.name} · {image_verdict(name, focus.summary)}", note)
    if not objects:
        st.caption("There are no objects. Lower the confidence above the images, or choose another image.")
        st.stop()
    variant_id = f"v{next(i for i, variant in enumerate(models.variants) if variant.digest == variants[0].digest)}"
    selected = panel.selected_object(objects, variant_id)
    if panel.is_unknown(view.selected(), [run.detections for run in runs]):
        page.unknown(f"the object {view.selected()}, which is not on this image")
    left, right = st.columns([3, 2])
    with left:
        st.subheader(f"Objects: {reference} and {name}")
        if selected is not None:
            st.text(panel.selection_text(selected))
        table = st.container()
        risks = object_risk.show(here, variants[0], images, image, current.score)
        with table:
            panel.object_table(objects, variant_id, f"objects-{image.digest[:8]}-{name}-{current.score}", risks)
    with right:
        st.subheader("Confidence")
        chart = confidence_scatter(objects, reference, name, current.score)
        st.plotly_chart(chart, width="stretch", key="confidence")
    trace.show(here, variants[0], image, objects, None if selected is None else selected.reference_index)
