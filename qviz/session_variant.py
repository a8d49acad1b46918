"""The analyses of a session that examine one variant: layers, noise, traces, operators in float, video, diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.session_inputs import SessionInputs, Source, Sources, as_paths

if TYPE_CHECKING:
    from qviz.datasets.files import ImageFiles
    from qviz.features.accuracy import Evaluation
    from qviz.features.backends.noise import NoiseBudget
    from qviz.features.backends.recorded_layers import RecordedLayers
    from qviz.features.cost.npu import NpuCost
    from qviz.features.detection.models import LoadedModel
    from qviz.features.diagnosis import Diagnosis
    from qviz.features.exporting import Export
    from qviz.features.layer_error import LayerErrors
    from qviz.features.object_risk import Risks
    from qviz.features.slices.ranges import SliceRanges
    from qviz.features.tracing import Trace
    from qviz.features.video import VideoResult
    from qviz.features.what_if import WhatIf
    from qviz.structures import Dataset, EncodedImage

PAGE_SCORE = 0.25
"""Minimum confidence of objects that people look at."""
MAX_EXPORTED = 200
"""Images of a dataset that are compared to find the worst ones."""
Variant = str | int | None
"""A variant's name, a unique part of it, or its number from 1; None if there is only one."""


class VariantAnalyses(SessionInputs):
    """The analyses of `Session` that examine one variant; the variant need not be named if there is only one."""

    def layers(self, variant: Variant = None, images: Sources = (), *, local_inputs: str = "reference") -> LayerErrors:
        """The error of every layer of a variant, local (of this layer alone) and cumulative.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            local_inputs: The model whose activations each layer receives for its local error: `reference` or `variant`.

        Returns:
            One row per paired operator: MSE, SQNR in dB (higher is better), RMSE/scale, and share of clipped values.
        """
        from qviz.features.layer_error import layers

        files = self.images_of(images)
        reference, chosen = self._pair(variant, files)
        return layers(self.context, reference, chosen, files, local_inputs=local_inputs)

    def export(
        self,
        variant: Variant = None,
        images: Sources = (),
        *,
        form: str = "pictures",
        score: float = PAGE_SCORE,
        worst: int | None = None,
    ) -> Export:
        """The images and what a variant does to their objects, for other tools.

        Args:
            images: By default the session's, or 200 of its dataset's, evenly spread.
            form: `pictures`, `coco`, `yolo` or `fiftyone`; see `qviz.features.exporting`.
            score: Minimum confidence of an object, in [0, 1].
            worst: Maximum number of images, the most damaged first; None: as many as the form usually has.

        Returns:
            `result.save(folder)` writes the files.

        Raises:
            SettingsError: There is no such form.
        """
        from qviz.features.exporting import export
        from qviz.structures.dataset import spread

        files: ImageFiles | list[EncodedImage]
        if as_paths(images) or self.images or self.dataset is None:
            files = self.images_of(images)
        else:
            files = [image.encoded() for image in spread(self.dataset_of().images, MAX_EXPORTED)]
        reference, chosen = self._pair(variant, files)
        return export(self.context, reference, chosen, files, form=form, score=score, worst=worst)

    def noise_budget(self, variant: Variant = None, images: Sources = (), *, score: float = PAGE_SCORE) -> NoiseBudget:
        """How much the choice of kernels alone changes a variant's detections.

        The same file runs on each of TensorFlow Lite's sets of kernels.
        """
        from qviz.features.backends.noise import noise_budget

        files = self.images_of(images)
        return noise_budget(self.context, self._pair(variant, files)[1], files, score=score)

    def npu_cost(self, variant: Variant = None, *, accelerator: str) -> NpuCost:
        """Cycles of each operator of a model, and its memory, on an Arm Ethos-U, as its compiler Vela estimates them.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed for a model that is open alone.
            accelerator: Such as `ethos-u55-256`.

        Raises:
            InputError: Vela is not installed (`pip install "qviz-tflite[vela]"`).
            ModelError: Vela does not compile the model.
            SettingsError: There is no such accelerator.
        """
        from qviz.features.cost.npu import npu_cost

        alone = variant is None and len(self.models) == 1
        return npu_cost(self.models[0] if alone else self.variant(variant), accelerator)

    def recorded_layers(self, variant: Variant = None, images: Sources = (), *, recording: Source) -> RecordedLayers:
        """The error of each operator on a device that recorded its tensors, against FP32 and against the kernels here.

        Args:
            recording: A file that `qviz.device_read(folder, tensors=...)` wrote.
            variant: The file that was packed: its name, a unique part of it, or its number from 1.
            images: The images that were packed; by default the session's.

        Returns:
            One row per recorded operator, and how many of all operators that are.

        Raises:
            RecordingError: The file is damaged, or belongs to another model or other images.
        """
        from qviz.features.backends.recorded_layers import recorded_layers
        from qviz.features.backends.tensor_file import read_recording

        path = Path(recording)
        data, files = read_recording(path), self.images_of(images)
        reference, chosen = self._pair(variant, files)
        return recorded_layers(self.context, reference, chosen, files, data, path.name)

    def risk(
        self,
        variant: Variant = None,
        images: Sources = (),
        *,
        calibration: Sources = (),
        score: float = PAGE_SCORE,
        iou: float = 0.5,
    ) -> Risks:
        """Which of the reference's objects the variant will probably lose or relabel, and how well this predicts.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            images: Images whose objects get a risk; by default the session's.
            calibration: Other images, from which the risk is estimated; by default the session's. Without any, the risk
                on each image is estimated from the other images.

        Returns:
            A risk in [0, 1] for each object and class; None if it does not predict (AUROC below .6).

        Raises:
            SettingsError: All images are calibration images.
        """
        from qviz.features.object_risk import risk

        files = self.images_of(images)
        reference, chosen = self._pair(variant, files)
        given = self.calibration_of(calibration) if as_paths(calibration) or self.calibration_images else ()
        return risk(self.context, reference, chosen, files, given, score=score, iou=iou)

    def slice_ranges(
        self,
        evaluation: Evaluation,
        variant: Variant = None,
        *,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        calibration: Sources = (),
        ranges: str = "mean",
    ) -> SliceRanges:
        """Which slices leave a variant's calibrated ranges, and images of the worst slice to calibrate with.

        Args:
            evaluation: The result of `evaluate` with `slices`.
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            dataset, dataset_images: The dataset that was evaluated; by default the session's.
            calibration: Calibration images, to measure the gain: int8 is built with them alone, and with them and the
                images to add; both files are measured on other images of the slice. Empty for no such measurement.
            ranges: Method by which the ranges are computed, as for `quantize`.

        Raises:
            DatasetError: The evaluation has no slices.
        """
        from qviz.features.slices.ranges import slice_ranges, with_gain

        data = self.dataset_of(dataset, dataset_images)
        pair = self._models_of(variant, data)
        result = slice_ranges(self.context, evaluation, pair, data)
        if not as_paths(calibration):
            return result
        given = self.calibration_of(calibration)
        return with_gain(self.context, result, pair, self._reference_and_source(given), given, data, ranges)

    def trace(
        self,
        variant: Variant | Path = None,
        image: Source | None = None,
        *,
        object_number: int | None = None,
        quick: bool = False,
        score: float = PAGE_SCORE,
    ) -> Trace:
        """The operators at which one object of one image loses its confidence, and why.

        Args:
            variant: The variant; with only one, the image may come first: `session.trace("dusk.jpg")`.
            image: The image; by default the session's, of which there must be exactly one.
            object_number: The reference's object, numbered from 0 by falling score; by default the one that loses the
                most confidence.
            quick: Find the operators by bisection instead of reading the score at every operator.

        Raises:
            ImageError: There is no image, or there are several.
        """
        from qviz.datasets.images import SUFFIXES
        from qviz.features.tracing import trace

        if image is None and isinstance(variant, str | Path) and Path(variant).suffix.lower() in SUFFIXES:
            variant, image = None, variant
        files = self.images_of(() if image is None else image)
        reference, chosen = self._pair(str(variant) if isinstance(variant, Path) else variant, files)
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
        """How much agreement is regained if sets of the variant's operators run in float; no file is built.

        Args:
            sets: Each set contains indices, from 0, of the variant's operators; None: the usual sets, and small ones
                found by a search.
            quick: Measure only the few sets that the verdict can name.
        """
        from qviz.features.what_if import what_if

        files = self.images_of(images)
        reference, chosen = self._pair(variant, files)
        return what_if(self.context, reference, chosen, files, sets=sets, score=score, iou=iou, quick=quick)

    def video(
        self,
        video: Source,
        *,
        every: int = 1,
        score: float = PAGE_SCORE,
        rate: float = 30.0,
        variant: Variant = None,
        out_of_range: bool = False,
    ) -> VideoResult:
        """The reference and a variant on the frames of a video: presence, blinks, jitter, and agreement of each frame.

        Args:
            video: A video file, or a folder of frames.
            every: Run only every n-th frame, e.g. 2 for every second one.
            score: Minimum confidence of an object, in [0, 1].
            rate: Frames per second, if the video is a folder of frames.
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            out_of_range: Examine one frame per second for activations outside the variant's calibrated ranges.

        Raises:
            ImageError: The video cannot be read, or none of its frames can be run.
        """
        from qviz.features.video import video as run

        pair = self.models[0], self.variant(variant)
        return run(self.context, *pair, Path(video), every=every, score=score, rate=rate, out_of_range=out_of_range)

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
        npu: str = "",
    ) -> Diagnosis:
        """Why a variant loses objects: the causes that experiments confirm, and the cures that bring the objects back.

        Args:
            variant: Its name, a unique part of it, or its number from 1; not needed if there is only one.
            images: By default the session's, or those of the dataset; a few dozen of them are used, evenly spread.
            dataset: Annotated images, for `max_ap_loss`.
            min_agreement, max_ap_loss: Limits in [0, 1] for a gate, whose outcome is part of the result.
            fix: Diagnose on half of the images, build the cures, and measure them on the other half (AP with a dataset,
                else agreement); `result.save("fixed.tflite")` writes the best file.
            calibration: Images to calibrate with, for `fix`; they are excluded from both halves.
            integers_only: With `fix`, build only cures that compute with integers alone.
            npu: An Arm accelerator such as `ethos-u55-256`, for the time of the cures on it, as Vela estimates it.

        Returns:
            `causes`, ordered by the share of the lost agreement that is regained without them, largest first, and
            `cures`, the best first.

        Raises:
            DatasetError: `fix` needs eight images in addition to those for calibration.
            QuantizeError: There is no cure to build, or there are no calibration images.
            SettingsError: The gate cannot decide, because there are no objects to compare or no annotations.
        """
        from qviz.features.diagnosis import diagnose
        from qviz.features.diagnosis.gate import gated
        from qviz.features.diagnosis.price import check_npu, with_price

        check_npu(npu)
        data = self._diagnosed_dataset(dataset, dataset_images)
        if fix:
            given = self.calibration_of(calibration)
            source = data or self.images_of(images).dataset()
            return self._fixed(variant, source, given, score, iou, integers_only, npu)
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
        result = with_price(result, chosen, npu)
        return gated(self.context, reference, chosen, data, result, min_agreement, max_ap_loss)

    def _fixed(
        self,
        variant: Variant,
        data: Dataset,
        calibration: Sequence[EncodedImage],
        score: float,
        iou: float,
        integers_only: bool,
        npu: str,
    ) -> Diagnosis:
        """The diagnosis, with its cures built and measured."""
        from qviz.features.diagnosis import diagnose
        from qviz.features.diagnosis.fixing import fixed, split
        from qviz.features.diagnosis.price import with_price

        search, report = split(data, calibration)
        reference, chosen = self._models_of(variant, data)
        searched = [image.encoded() for image in search.images]
        path = self._reference_path
        result = diagnose(self.context, reference, chosen, searched, score=score, iou=iou, reference_path=path)
        result = with_price(result, chosen, npu)
        float_model, source = self._reference_and_source(calibration)
        halves = (search, report)
        result = fixed(self.context, float_model, chosen, source, calibration, result, halves, integers_only)
        return replace(result, built=None if result.built is None else self._checked(float_model, result.built))

    def _diagnosed_dataset(self, dataset: Source | None, folder: Source | None) -> Dataset | None:
        named = dataset is not None or self.dataset is not None
        return self.dataset_of(dataset, folder) if named else None

    def _models_of(self, variant: Variant, images: ImageFiles | Dataset | None) -> tuple[LoadedModel, LoadedModel]:
        """The reference and one variant, with settings completed for these images or this dataset."""
        name = self.variant(variant).name
        models = {model.name: model for model in self.models_for(images if images is not None else ())}
        return models[self.models[0].name], models[name]

    @property
    def _reference_path(self) -> str:
        """The reference's path as it was given, or its name if it was given as a loaded model."""
        given = self._given[0]
        return str(given) if isinstance(given, (str, PathLike)) else given.name
