"""Colours, with one meaning everywhere: page, chart, overlay and report.

Okabe and Ito's palette, safe for the colour-blind (Color Universal Design, 2008). The reference is blue, each variant
has its own in the order of loading; vermilion and orange come last, as changes use their neighbours.
"""

REFERENCE = "#0072B2"
VARIANTS = ("#009E73", "#56B4E9", "#CC79A7", "#B8A800", "#D55E00", "#E69F00", "#7F7F7F")
CHANGES = {
    "kept": "#5f6b76",
    "shifted": "#f2b705",
    "relabelled": "#a678de",
    "lost": "#e0402a",
    "spurious": "#f5821f",
}


def variant_colour(position: int) -> str:
    """The colour of the variant loaded as number `position`, from 0."""
    return VARIANTS[position % len(VARIANTS)]
