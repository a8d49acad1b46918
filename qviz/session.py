"""The public API: a `Session` holds models, images and annotations and runs every analysis on them.

The command line, the pages and the top-level functions (`qviz.compare(...)`) call the same methods; a top-level
function opens a session for a single call. Inputs that are not passed to a method are taken from the session.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.session_inputs import Source, Sources, as_paths
from qviz.session_variant import PAGE_SCORE, VariantAnalyses

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.backends import BackendComparison
    from qviz.features.backends.device import DevicePack
    from qviz.features.building.result import Built
    from qviz.features.calibrating import CalibrationLab
    from qviz.features.comparison import Comparison
    from qviz.features.corruption_sweep import RobustnessReport
    from qviz.features.cost import Profile
    from qviz.features.detection import DetectionResult
    from qviz.features.inspection import Info
    from qviz.features.reporting import Report
    from qviz.features.rescuing import Rescue
    from qviz.features.training import QatResult

AP_SCORE = 0.001
"""Minimum confidence of detections that count for AP."""
SEVERITIES = (1, 2, 3, 4, 5)


class Session(VariantAnalyses):
    """A reference model, its quantized variants and the data to analyse them on; `qviz.open` is this class.

    Args:
        reference: A .tflite file, a SavedModel folder, or a .keras or .h5 file.
        variants: Models of the same kinds; usually quantized versions of the reference.
        images: Images, or folders or zip archives of images.
        dataset: Annotated images: COCO JSON, YOLO data.yaml, Pascal VOC, TFRecord, or a folder or zip of them.
        dataset_images: The folder of the dataset's images if they are not beside the file.
        calibration: Images to calibrate or train with, or folders or zip archives of them.
        labels: A label file, or the class names.
        workers: Number of worker processes (default: one per core), or the address of a Dask scheduler.
        engine: Existing workers to use; closing the session does not stop them.
        threads: Number of threads per interpreter.
        cache: Store detections in the user's cache folder (True), in this folder (a path), or not at all (False).
        classes: Names of the classes to which detections and annotations are limited; empty for all classes.
        progress, cancel: Receives progress reports; event that stops an analysis, which then raises Cancelled.
        settings: Settings of all models: mean, std, channels, resize, decoder, class_offset, nms_iou, max_detections.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGES) as session:
        ...     comparison = session.compare()
        >>> comparison.variants[0].name
        'ssdlite_mobilenet_v2_int8.tflite'
    """

    def info(self) -> Info:
        """How each file is quantized, what lint warns about, and whether the variants were made from the reference."""
        from qviz.features.inspection import info

        return info(self.context, self.models, against=self.models[0])

    def detect(self, images: Sources = (), *, score: float = PAGE_SCORE) -> DetectionResult:
        """Detections of every model on every image, with at least this confidence in [0, 1].

        Returns:
            `result[model name][image name]` is a Detections; boxes are (n, 4) float32 xyxy, in original image pixels.

        Raises:
            ImageError: No image can be read.
        """
        from qviz.features.detection import detect

        files = self.images_of(images)
        return detect(self.context, self.models_for(files), files, score=score)

    def compare(self, images: Sources = (), *, score: float = PAGE_SCORE, iou: float = 0.5) -> Comparison:
        """Compare the objects of each variant with the reference's: kept, shifted, relabelled, lost or spurious.

        Args:
            images: Images, or folders or zip archives of images; by default the session's.
            score: Minimum confidence of an object, in [0, 1].
            iou: Minimum IoU of a matched pair, in (0, 1].

        Raises:
            ImageError: No image can be read.
        """
        from qviz.features.comparison import compare

        files = self.images_of(images)
        return compare(self.context, self.models_for(files), files, score=score, iou=iou)

    def evaluate(
        self,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        *,
        images: Sources = (),
        score: float = AP_SCORE,
        reference_as_truth: bool = False,
        at: float | Source | Mapping[str, float] = "best",
        slices: str | Sequence[str] | None = None,
        traits: Source | None = None,
    ) -> Evaluation:
        """AP of every model, computed as in pycocotools, and the loss of each variant by class.

        Args:
            dataset: Annotated images; by default the session's.
            dataset_images: Folder of the dataset's images if they are not beside the file.
            images: Images without annotations, for `reference_as_truth`.
            score: Minimum confidence of a detection that counts, in [0, 1].
            reference_as_truth: Use the reference's own detections as ground truth.
            at: The confidence at which the detector is used: a threshold, `best` (where the reference's F1 is highest),
                label -> threshold, or a JSON file of these.
            slices: `all`, or traits of images and objects, such as brightness, by which the losses are broken down;
                fields of the annotations are traits as well, and `class+size` crosses two.
            traits: CSV file with further traits of the images, one row per image; without `slices`, these alone.

        Returns:
            AP in [0, 1]; losses (reference minus variant, so positive is worse) with 95 % paired bootstrap intervals;
            in `operating`, precision, recall and false positives per image at the confidence `at`.

        Raises:
            DatasetError: There is no dataset, or it contains nothing usable.
        """
        from qviz.features.accuracy import evaluate
        from qviz.features.accuracy.operating_at import read_at
        from qviz.features.slices import sliced_dataset, with_slices

        point = read_at(at)
        data, slices, remarks = sliced_dataset(self.dataset_of(dataset, dataset_images, images), slices, traits)
        models = self.models_for(data)
        result = evaluate(self.context, models, data, score=score, reference_as_truth=reference_as_truth, at=point)
        return result if slices is None else with_slices(self.context, result, data, slices, remarks)

    def robustness(
        self,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        *,
        images: Sources = (),
        corruptions: Sequence[str] = ("lighting",),
        severities: Sequence[int] = SEVERITIES,
        score: float = AP_SCORE,
        layer_images: int | None = None,
    ) -> RobustnessReport:
        """Every model under changed lighting, noise and pose: AP on a dataset, else agreement with the reference.

        Args:
            corruptions: Names of corruptions or of their families, see `qviz.corruptions.CORRUPTIONS`.
            severities: Whole numbers from 1 to 5; 5 is the worst.
            layer_images: Number of images on which the layers are examined as well; None: a few.
        """
        from qviz.features.corruption_sweep import robustness

        data = self.dataset_of(dataset, dataset_images, images)
        return robustness(
            self.context,
            self.models_for(data),
            data,
            corruptions=corruptions,
            severities=severities,
            score=score,
            layer_images=layer_images,
        )

    def backends(
        self,
        images: Sources = (),
        *,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        on: Sequence[str] = (),
        score: float = PAGE_SCORE,
        iou: float = 0.5,
        first_difference: bool = False,
    ) -> BackendComparison:
        """Run the same files on several backends: what happens to each object, scores, AP, and what a backend rejects.

        Args:
            on: Any of xnnpack, builtin, reference, gpu, micro; by default all that are available. The first one that
                can run a model is what the others are compared with.
            dataset: Annotated images, for AP; by default the session's, unless images are given.
            first_difference: Find the first operator whose output on builtin or reference differs from xnnpack.

        Raises:
            SettingsError: None of the backends is available.
        """
        from qviz.features.backends import backends, encoded_images

        has_dataset = dataset is not None or (self.dataset is not None and not as_paths(images))
        data = self.dataset_of(dataset, dataset_images) if has_dataset else None
        files = self.images_of(images) if data is None else encoded_images(data)
        models = self.models_for(files if data is None else data)
        options: dict[str, Any] = {"score": score, "iou": iou, "first_difference": first_difference}
        return backends(self.context, models, files, dataset=data, on=on, **options)

    def device_pack(self, folder: Source, images: Sources = (), *, inner: str = "") -> DevicePack:
        """Write prepared inputs, the reference and a single-file runner into a folder, to be copied to a device.

        Args:
            folder: A folder that is empty or does not exist yet.
            inner: Tensors inside the network to be recorded, too: `all`, operators (`0-12,40`) or a regular expression.

        Raises:
            RecordingError: The folder cannot be written, or is not empty.
        """
        from qviz.features.backends.device import device_pack

        files = self.images_of(images)
        return device_pack(self.context, self.models_for(files)[0], files, Path(folder), inner=inner)

    def quantize(
        self,
        recipe: str,
        *,
        calibration: Sources = (),
        ranges: str = "mean",
        keep_ranges: bool = False,
        cures: str | Sequence[str] = (),
        **options: Any,
    ) -> Built:
        """Build a quantized variant of the reference.

        Args:
            recipe: A name from `qviz.features.building.RECIPES`, e.g. `int8`.
            calibration: Images, folders or zip archives, or a file of saved ranges; by default the session's.
            ranges: Method by which activation ranges are computed: mean, minmax, moving_average or percentile.
            keep_ranges: Measure ranges even if the recipe does not need them, and return them in `built.ranges`.
            cures: Names in `features.building.cures.CURES`; `built.changes` says what each one changed.
            options: Options of the recipe: io, algorithm, keep_float, keep_operators, block, wide, wide_operators.

        Returns:
            The variant: `built.data` is the .tflite file, and `built.save("int8.tflite")` writes it.

        Raises QuantizeError (unknown or unsuitable recipe, or no images), SettingsError (an option is invalid).
        """
        from qviz.features.building import quantize, read_calibration
        from qviz.features.building.cures import cures_of
        from qviz.features.building.recipes import Options, recipe_of

        row, chosen = recipe_of(recipe), Options.of(**options)
        measured, images = read_calibration(as_paths(calibration) or self.calibration_images)
        reference, source = self._reference_and_source(images)
        built = quantize(
            self.context,
            source,
            row.name,
            calibration=images,
            measured=measured,
            ranges=ranges,
            options=chosen,
            keep_ranges=keep_ranges,
            cures=cures_of(cures),
        )
        return self._checked(reference, built)

    def calibration(
        self,
        calibration: Sources = (),
        *,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        images: Sources = (),
        score: float = AP_SCORE,
        **plan: Any,
    ) -> CalibrationLab:
        """How many calibration images are needed, which ones, and how much the usual mistakes cost.

        Args:
            calibration: Images to calibrate with; by default the session's.
            dataset: Annotated images to measure AP on; without one, agreement is measured on `images`, or on half of
                the calibration images.
            plan: Fields of `qviz.features.calibrating.Plan`, such as recipe, ranges, draws, seed, mistakes and further.
        """
        from qviz.features.calibrating import Plan
        from qviz.features.calibrating import calibration as run

        chosen, calibration_images = Plan.of(**plan), self.calibration_of(calibration)
        has_data = dataset is not None or self.dataset is not None or as_paths(images) or self.images
        data = self.dataset_of(dataset, dataset_images, images) if has_data else None
        reference, source = self._reference_and_source(calibration_images)
        return run(self.context, reference, source, calibration_images, data, plan=chosen, score=score)

    def rescue(
        self,
        *,
        calibration: Sources = (),
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        images: Sources = (),
        max_ap_loss: float | None = None,
        min_agreement: float | None = None,
        prefer: str = "size",
        recipes: Sequence[str] = (),
        tries: int = 60,
        score: float = AP_SCORE,
        integers_only: bool = False,
        report_dataset: Source | None = None,
        **limits: Any,
    ) -> Rescue:
        """Search for the smallest or fastest variant within a budget; each candidate is built and measured.

        Args:
            max_ap_loss: Maximum loss of AP, in [0, 1]; needs a dataset. Give either this or `min_agreement`.
            min_agreement: Minimum agreement with the reference, in [0, 1].
            prefer: What to minimise: `size` or `latency`.
            recipes, tries: Recipes to try, by default all that are suitable; maximum number of candidates.
            integers_only: Try only recipes with integer activations, and keep no operator in float.
            report_dataset: Images for the report, from the folder of the dataset's, which is then all for the search.
            limits: `max_cycles` of one image on the Arm accelerator `npu`, as Vela estimates them (`integers_only`);
                `max_size` of the file, in bytes or times plain int8, such as `1.02x`; `max_wide_operators`, the largest
                number of operators in 16 bits. With one of the last two, the best file within them is chosen.

        Returns:
            Every candidate; `result.data` is the best file, and `result.save("small.tflite")` writes it.
        """
        from qviz.features.rescuing import Budget, Request, rescue

        choices = prefer, tuple(recipes), tries, score, integers_only
        request = Request(Budget.of(max_ap_loss, min_agreement, **limits), *choices)
        given = self.calibration_of(calibration)
        data = self.dataset_of(dataset, dataset_images, images)
        others = None if report_dataset is None else self.dataset_of(report_dataset, dataset_images)
        reference, source = self._reference_and_source(given)
        return rescue(self.context, reference, source, given, data, request, others)

    def qat(
        self,
        *,
        calibration: Sources = (),
        recipe: str = "int8",
        steps: int | None = None,
        checkpoint: Source | None = None,
        finish_early: threading.Event | None = None,
    ) -> QatResult:
        """Quantization-aware training without labels: the reference teaches its quantized copy on these images.

        Args:
            calibration: Images to train on; one in five is held out to measure the gain.
            steps: Number of training steps; None: the recipe's usual number.
            checkpoint: A file from which the training continues, and which it updates every few seconds.
            finish_early: Event that ends the training early; the variant is built from the weights reached by then.
        """
        from qviz.features.training import qat

        images = self.calibration_of(calibration)
        path = None if checkpoint is None else Path(checkpoint)
        reference, _ = self._reference_and_source(images)
        result = qat(
            self.context, reference, images, recipe=recipe, steps=steps, checkpoint=path, finish_early=finish_early
        )
        return replace(result, built=result.built and self._checked(reference, result.built))

    def profile(self, *, threads: Sequence[int] = (1,), runs: int = 50, npu: str = "") -> Profile:
        """Latency, time per operator and peak memory of each model.

        Args:
            threads: Thread counts to measure.
            runs: Number of timed runs per model and thread count, after warm-up.
            npu: An Arm accelerator such as `ethos-u55-256`, whose cost the compiler Vela estimates.
        """
        from qviz.features.cost import profile

        return profile(self.context, self.models, threads=threads, runs=runs, npu=npu)

    def report(
        self,
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        *,
        images: Sources = (),
        sections: Sequence[str] | None = None,
        **options: Any,
    ) -> Report:
        """A study of the models, shown as one self-contained HTML page.

        Args:
            sections: Names from `qviz.features.reporting.html.SECTIONS`; None: all sections that have content.
            options: notes, also, name, shown, score, iou, video, every; see `qviz.features.reporting.report`.

        Returns:
            `report.save("report.html")` writes the page.
        """
        from qviz.features.reporting import report

        data = self.dataset_of(dataset, dataset_images) if dataset is not None or self.dataset is not None else None
        files = None if data is not None and not (as_paths(images) or self.images) else self.images_of(images)
        models = self.models_for(data or files or ())
        return report(self.context, models, data, files, sections=sections, **options)


open = Session
