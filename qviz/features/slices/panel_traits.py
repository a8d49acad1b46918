"""The choice of traits on the tab *Slices*: a CSV file of traits, and two traits to cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from qviz.datasets.trait_file import TraitFile, parse_traits, with_traits
from qviz.errors import QvizError
from qviz.features.slices.columns import column_names
from qviz.features.slices.traits import CROSS, TRAITS
from qviz.formatting import as_text
from qviz.structures import Dataset, digest_of
from qviz.ui import uploads

STATE = "qviz_traits"
"""Session key of (digest, content) of the CSV file that was dropped last."""


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """The dataset with the traits of the CSV file, and the names of the traits to slice by.

    Attributes:
        digest: Digest of the CSV file; empty if there is none.
        remarks: Sentences about the rows of the CSV file.
    """

    dataset: Dataset
    names: tuple[str, ...]
    digest: str = ""
    remarks: tuple[str, ...] = ()


def chosen_traits(dataset: Dataset) -> Traits:
    """Draw the drop zone and the choice of two traits to cross, and return what was chosen."""
    left, right = st.columns(2, gap="medium", vertical_alignment="bottom")
    with left:
        digest, file = _dropped()
    remarks: Sequence[str] = ()
    if file is not None:
        try:
            dataset, remarks = with_traits(dataset, file)
        except QvizError as error:
            digest = ""
            st.error(as_text(str(error)))
    names = list(dict.fromkeys([*column_names(dataset), *TRAITS]))
    with right:
        pair = st.multiselect(
            "Also cross two traits",
            names,
            default=[],
            max_selections=2,
            placeholder="e.g. class and size",
            key="slices-cross",
        )
    crossed = (CROSS.join(pair),) if len(pair) == 2 else ()
    return Traits(dataset, ("all", *crossed), digest, tuple(remarks))


def _dropped() -> tuple[str, TraitFile | None]:
    """Draw the drop zone, and return (digest, content) of the file that was dropped last; ("", None) if there is none.

    Streamlit would lose the file when the user switches pages, so its content is stored in the session.
    """
    with uploads.zone_of("slices", "Drop a CSV: image,weather,..."):
        uploaded = st.file_uploader("Further traits of the images", type=["csv"], key="slices-file")
    if uploaded is not None:
        data = uploaded.getvalue()
        digest = digest_of(data)
        if st.session_state.get(STATE, ("", None))[0] != digest:
            try:
                st.session_state[STATE] = digest, parse_traits(data, uploaded.name[:100])
            except QvizError as error:
                st.session_state.pop(STATE, None)
                st.error(as_text(str(error)))
    stored: tuple[str, TraitFile | None] = st.session_state.get(STATE, ("", None))
    return stored
