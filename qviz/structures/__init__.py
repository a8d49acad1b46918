"""Value types that every room shares, and the conventions they keep.

* Boxes are xyxy (left, top, right, bottom), float32, in pixels of the *original* image (EXIF orientation applied,
  except where annotations were drawn without it: `EncodedImage.size`).
* Images are (h, w, 3) uint8 RGB.
* Class ids are zero-based indices into the model's labels.
* Scores (confidences) lie in [0, 1]; AP lies in [0, 1] (x100 only where it is shown).
* Times are milliseconds, sizes bytes.
* A digest is the sha256 of the file's bytes, in hexadecimal; an image's also names that size and its shift, if
  it has them.

All types are frozen. Those that hold arrays compare by identity (`eq=False`).
"""

from qviz.structures.dataset import Category, Dataset, DatasetImage, spread
from qviz.structures.detections import Detections, GroundTruth, Inference
from qviz.structures.graph import Graph, Op, Tensor
from qviz.structures.image import AppliedCorruption, EncodedImage, Image, digest_of
from qviz.structures.loss import Loss
from qviz.structures.model import Model, Scheme
from qviz.structures.quantization import Quantization
from qviz.structures.settings import Settings

__all__ = [
    "AppliedCorruption",
    "Category",
    "Dataset",
    "DatasetImage",
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
    "spread",
]
