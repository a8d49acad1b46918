"""The errors that a user may see. Pages and commands catch `QvizError` and show its message.

    QvizError
    ├── InputError          an input cannot be used:
    │   ├── ImageError      an image file
    │   ├── ModelError      a model file
    │   │   ├── NoDecoderError   the model runs, but no decoder knows its outputs
    │   │   └── NeedsTensorFlow  TensorFlow Lite cannot express the model; TensorFlow itself can run it
    │   ├── SettingsError   a setting or an option
    │   ├── LabelsError     a label file
    │   ├── DatasetError    an annotation file
    │   ├── StudyError      a saved study
    │   ├── RecordingError  a folder of outputs that a device has recorded
    │   └── QuantizeError   a recipe that does not fit the model, or lacks what it needs
    ├── WorkerError         a job failed in its worker process; other jobs continue
    │   ├── WorkerCrashed
    │   ├── WorkerTimeout
    │   └── WorkerOutOfMemory
    ├── ProjectError        a project of the dashboard cannot be saved or opened
    │   └── ProjectChanged   another page has saved it in the meantime
    └── Cancelled

A message has one or two sentences: what is wrong, what was expected, how to fix it. Any other exception is a bug.
"""

import re
import struct


class QvizError(Exception):
    """Base of every error that a user may see."""


class InputError(QvizError):
    """An input from the user cannot be used."""


class ImageError(InputError):
    """An image file cannot be read."""


class ModelError(InputError):
    """A model file cannot be read or run."""


class NoDecoderError(ModelError):
    """No decoder knows the model's outputs."""


class NeedsTensorFlow(ModelError):
    """TensorFlow Lite cannot express the model; as a reference, TensorFlow itself can run it."""


class SettingsError(InputError):
    """A setting is unknown or out of its range."""


class LabelsError(InputError):
    """A label file cannot be read."""


class DatasetError(InputError):
    """An annotation file cannot be read."""


class StudyError(InputError):
    """A saved study cannot be read."""


class RecordingError(InputError):
    """A device recording is incomplete, damaged, or belongs to other inputs or another model."""


class QuantizeError(InputError):
    """A quantization recipe does not fit the model, or lacks what it needs."""


class WorkerError(QvizError):
    """A job failed in its worker process; other jobs continue."""


class WorkerCrashed(WorkerError):
    """The worker process died."""


class WorkerTimeout(WorkerError):
    """The job exceeded its time limit."""


class WorkerOutOfMemory(WorkerError):
    """The job exceeded its memory limit."""


class ProjectError(QvizError):
    """A project of the dashboard cannot be saved or opened."""


class ProjectChanged(ProjectError):
    """Another page has saved the project since this one read it."""


class Cancelled(QvizError):
    """The user cancelled the work."""

    def __init__(self, message: str = "The work was stopped before it finished.") -> None:
        super().__init__(message)


_PYTHON = re.compile(r"\bb['\"]|unpack|buffer of|NoneType|object has|out of range|0x[0-9a-f]|[<>]|__|codec")
_OF_THE_CODE = (struct.error, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)
"""Errors whose texts describe the code that reads a file rather than the file."""


def reason(error: BaseException) -> str:
    """The error's text as ` (text)`, to be inserted into a sentence; empty if it describes Python code, not the file.

    Example:
        >>> reason(ValueError("the shape has 5 sides")), reason(ValueError("read b'o\\n'"))
        (' (the shape has 5 sides)', '')
    """
    text = str(error).strip()
    return "" if not text or isinstance(error, _OF_THE_CODE) or _PYTHON.search(text) else f" ({text})"
