"""The analyses of a session that look into one variant: layers, traces, operators in float, and the diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING

from qviz.session_inputs import SessionInputs, Source, Sources

if TYPE_CHECKING:
    from qviz.features.diagnosis import Diagnosis
    from qviz.features.layer_error import LayerErrors
    from qviz.features.layer_error.noise import NoiseBudget
    from qviz.features.tracing import Trace
    from qviz.features.what_if import WhatIf

PAGE_SCORE = 0.25
"""Minimum confidence of an object where people look."""
Variant = str | int | None
"""A variant's name, a unique part of it, or its number from 1; None where there is only one."""


class VariantAnalyses(SessionInputs):
    """The part of `Session` that needs the operators of both files; their variant may be left out if there is one."""

    def layers(self, variant: Variant = None, images: Sources = (), *, local_inputs: str = "reference") -> LayerErrors:
        """The error of every layer of a variant, local (of this layer alone) and cumulative.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            local_inputs: `reference` or `variant`, whose activations each layer receives for its local error.

        Returns:
            One row per paired operator: MSE, SQNR in dB (higher is better), RMSE/scale, share of clipped values.
        """
        from qviz.features.layer_error import layers

        files = self.images_of(images)
        reference, chosen = self._pair(variant, files)
        return layers(self.context, reference, chosen, files, local_inputs=local_inputs)

    def noise_budget(self, variant: Variant = None, images: Sources = (), *, score: float = PAGE_SCORE) -> NoiseBudget:
        """How much other kernels alone change a variant: the same file on each set of TensorFlow Lite's kernels."""
        from qviz.features.layer_error.noise import noise_budget

        files = self.images_of(images)
        return noise_budget(self.context, self._pair(variant, files)[1], files, score=score)

    def trace(
        self,
        variant: Variant = None,
        image: Source | None = None,
        *,
        object_number: int | None = None,
        quick: bool = False,
        score: float = PAGE_SCORE,
    ) -> Trace:
        """The operators at which one object of one image loses its confidence, and why.

        Args:
            image: The image; by default the session's, which must then be a single one.
            object_number: The reference's object, numbered from 0 by falling score; by default the one that lost most.
            quick: Bisect instead of reading the score at every operator.

        Raises:
            ImageError: There are several images, or none.
        """
        from qviz.features.tracing import trace

        files = self.images_of(() if image is None else image)
        reference, chosen = self._pair(variant, files)
        return trace(
            self.context, reference, chosen, files.single(), object_number=object_number, quick=quick, score=score
        )

    def what_if(
        self,
        variant: Variant = None,
        images: Sources = (),
        *,
        sets: Sequence[Iterable[int]] | None = None,
        score: float = PAGE_SCORE,
        iou: float = 0.5,
        quick: bool = False,
    ) -> WhatIf:
        """How much agreement comes back with sets of the variant's operators in float, without building a file.

        Args:
            sets: Operator indices of the variant, from 0, per set; None: usual ones, and small ones from a search.
            quick: Measure only the few sets that the verdict may name.
        """
        from qviz.features.what_if import what_if

        files = self.images_of(images)
        reference, chosen = self._pair(variant, files)
        return what_if(self.context, reference, chosen, files, sets=sets, score=score, iou=iou, quick=quick)

    def diagnose(
        self, variant: Variant = None, images: Sources = (), *, score: float = PAGE_SCORE, iou: float = 0.5
    ) -> Diagnosis:
        """Why a variant loses objects: causes that experiments confirmed, and what brings the objects back.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            images: By default the session's; a few dozen of them are used, evenly spread.

        Returns:
            `causes` by falling share of the lost agreement that comes back without them, and `cures`, the best first.
        """
        from qviz.features.diagnosis import diagnose

        files = self.images_of(images)
        reference, chosen = self._pair(variant, files)
        path = str(self._given[0]) if isinstance(self._given[0], (str, PathLike)) else ""
        return diagnose(self.context, reference, chosen, files, score=score, iou=iou, reference_path=path)
