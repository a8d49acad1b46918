"""SavedModels and Keras files: converted to a float32 .tflite, or run by TensorFlow itself as a reference.

* A source is a SavedModel (a folder, or a zip archive of one), a .keras file or an .h5 file. It travels as bytes: a
  folder is packed into an archive, with the same bytes for the same files.
* TensorFlow takes 4 s and half a gigabyte to load, so it is imported inside functions that run in worker processes.
* The input is untrusted: archives are unpacked within limits, and graphs or layers that could access files, the network
  or Python are refused before anything is loaded.
* Error messages begin with a verb ("has ..."); the caller puts the model's name in front.
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
