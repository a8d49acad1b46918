"""Value types that all packages share, with their conventions.

* Boxes are xyxy (left, top, right, bottom), float32, in pixels of the *original* image. Its EXIF orientation is
  applied, unless the annotations refer to the image without it, see `EncodedImage.size`.
* Images are (h, w, 3) uint8 RGB.
* Class ids are zero-based indices into the model's labels.
* Scores (confidences) and AP are in [0, 1]; AP is multiplied by 100 only for display.
* Times are in milliseconds, sizes in bytes.
* A digest is the sha256 of a file's bytes in hexadecimal. The digest of an image also includes its `size` and its
  corruption, if it has any.

All types are frozen. Those with arrays compare by identity (`eq=False`).
"""

from qviz.structures.dataset import Category, Dataset, DatasetImage, DatasetProblem, spread
from qviz.structures.detections import Detections, GroundTruth, Inference
from qviz.structures.graph import Graph, Model, Op, Scheme, Tensor
from qviz.structures.image import AppliedCorruption, EncodedImage, Image, digest_of, digest_of_json, file_digest
from qviz.structures.loss import Loss
from qviz.structures.quantization import Quantization
from qviz.structures.settings import Settings

__all__ = [
    "AppliedCorruption",
    "Category",
    "Dataset",
    "DatasetImage",
    "DatasetProblem",
    "Detections",
    "EncodedImage",
    "Graph",
    "GroundTruth",
    "Image",
    "Inference",
    "Loss",
    "Model",
    "Op",
    "Quantization",
    "Scheme",
    "Settings",
    "Tensor",
    "digest_of",
    "digest_of_json",
    "file_digest",
    "spread",
]
