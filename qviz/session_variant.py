"""The analyses of a session that look into one variant: layers, traces, operators in float, and the diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.session_inputs import SessionInputs, Source, Sources, as_paths

if TYPE_CHECKING:
    from qviz.datasets.files import ImageFiles
    from qviz.features.detection.models import LoadedModel
    from qviz.features.diagnosis import Diagnosis
    from qviz.features.layer_error import LayerErrors
    from qviz.features.layer_error.noise import NoiseBudget
    from qviz.features.tracing import Trace
    from qviz.features.video import VideoResult
    from qviz.features.what_if import WhatIf
    from qviz.structures import Dataset, EncodedImage

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

    def video(
        self, video: Source, *, every: int = 1, score: float = PAGE_SCORE, rate: float = 30.0, variant: Variant = None
    ) -> VideoResult:
        """The reference and a variant on the frames of a video: presence, blinks, jitter, agreement of each frame.

        Args:
            video: A video file, or a folder of frames.
            every: Run each so many-th frame.
            score: Minimum confidence, in [0, 1], of an object.
            rate: Frames per second of a folder.
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.

        Raises:
            ImageError: It is no video that can be read, or no frame can be run.
        """
        from qviz.features.video import video as run

        pair = self.models[0], self.variant(variant)
        return run(self.context, *pair, Path(video), every=every, score=score, rate=rate)

    def diagnose(
        self,
        variant: Variant = None,
        images: Sources = (),
        *,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        score: float = PAGE_SCORE,
        iou: float = 0.5,
        min_agreement: float | None = None,
        max_ap_loss: float | None = None,
        fix: bool = False,
        calibration: Sources = (),
        integers_only: bool = False,
    ) -> Diagnosis:
        """Why a variant loses objects: causes that experiments confirmed, and what brings the objects back.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            images: By default the session's, or those of the dataset; a few dozen are used, evenly spread.
            dataset: Annotated images, for `max_ap_loss`.
            min_agreement, max_ap_loss: A gate, in [0, 1]; the result has its outcome.
            fix: Diagnose on half of the images, build the cures, and measure them on the other half (in AP with a
                dataset, else in agreement); `result.save("fixed.tflite")` writes the best file.
            calibration: For `fix`, images to calibrate with; they are left out of both halves.
            integers_only: For `fix`, only cures that compute on integers alone.

        Returns:
            `causes` by falling share of the lost agreement that comes back without them, and `cures`, the best first.

        Raises:
            DatasetError: `fix` needs eight images beside those of the calibration.
            QuantizeError: There is no cure to build, or calibration images are missing.
            SettingsError: The gate cannot conclude, as there are no objects to compare, or no annotations.
        """
        from qviz.features.diagnosis import diagnose
        from qviz.features.diagnosis.gate import gated

        data = self._diagnosed_dataset(dataset, dataset_images)
        if fix:
            given = self.calibration_of(calibration)
            return self._fixed(variant, data or self.images_of(images).dataset(), given, score, iou, integers_only)
        files = self.images_of(images) if as_paths(images) or self.images or data is None else None
        reference, chosen = self._models_of(variant, files if files is not None else data)
        result = diagnose(
            self.context,
            reference,
            chosen,
            files if files is not None else [image.encoded() for image in data.images] if data else (),
            score=score,
            iou=iou,
            reference_path=self._reference_path,
        )
        return gated(self.context, reference, chosen, data, result, min_agreement, max_ap_loss)

    def _fixed(
        self,
        variant: Variant,
        data: Dataset,
        calibration: Sequence[EncodedImage],
        score: float,
        iou: float,
        integers_only: bool,
    ) -> Diagnosis:
        """The diagnosis with built and measured cures."""
        from qviz.features.diagnosis import diagnose
        from qviz.features.diagnosis.fixing import fixed, split

        search, report = split(data, calibration)
        reference, chosen = self._models_of(variant, data)
        searched = [image.encoded() for image in search.images]
        path = self._reference_path
        result = diagnose(self.context, reference, chosen, searched, score=score, iou=iou, reference_path=path)
        float_model, source = self._reference_and_source(calibration)
        halves = (search, report)
        result = fixed(self.context, float_model, chosen, source, calibration, result, halves, integers_only)
        return replace(result, built=None if result.built is None else self._checked(float_model, result.built))

    def _diagnosed_dataset(self, dataset: Source | None, folder: Source | None) -> Dataset | None:
        named = dataset is not None or self.dataset is not None
        return self.dataset_of(dataset, folder) if named else None

    def _models_of(self, variant: Variant, images: ImageFiles | Dataset | None) -> tuple[LoadedModel, LoadedModel]:
        """The reference and one variant, ready for these images."""
        name = self.variant(variant).name
        models = {model.name: model for model in self.models_for(images if images is not None else ())}
        return models[self.models[0].name], models[name]

    @property
    def _reference_path(self) -> str:
        """The reference as it was given; its name where it was given as a loaded model."""
        given = self._given[0]
        return str(given) if isinstance(given, (str, PathLike)) else given.name
