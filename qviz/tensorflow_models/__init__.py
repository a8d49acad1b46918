"""SavedModels and Keras files: converted to a float32 .tflite, or run by TensorFlow itself as a reference.

* A source is a SavedModel (a folder, or a zip archive of one), a .keras file or an .h5 file. It travels as bytes: a
  folder is packed into an archive, the same bytes for the same files.
* TensorFlow takes 4 s and half a gigabyte to load: it is imported inside functions, and these run in worker processes.
* Nothing from outside is trusted: archives are unpacked within bounds, and graphs or layers that could touch files,
  the network or Python are refused before anything is loaded.
* Errors are predicates ("holds ..."): who knows the model's name puts it in front.
"""

from qviz.tensorflow_models.convert import Prepare, convert_job, converted
from qviz.tensorflow_models.reference import TENSORFLOW, SavedModelDetector, class_count, signature_graph
from qviz.tensorflow_models.sources import SourceKind, holds_saved_model, kind_of, kind_of_bytes, read_packed

__all__ = [
    "TENSORFLOW",
    "Prepare",
    "SavedModelDetector",
    "SourceKind",
    "class_count",
    "convert_job",
    "converted",
    "holds_saved_model",
    "kind_of",
    "kind_of_bytes",
    "read_packed",
    "signature_graph",
]
