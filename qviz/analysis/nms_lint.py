"""A class that TensorFlow Lite's own NMS leaves out: the one with the number of its threads.

Several threads take their next class from a common counter. It begins at their number and is raised before it is read
(`NonMaxSuppressionWorkerTask`, tensorflow/lite/kernels/detection_postprocess.cc; tensorflow issue 56058), so that with
two threads class 2 never comes up, with four class 4. Its fast variant, which takes all classes at once, is spared.
"""

from __future__ import annotations

from collections.abc import Sequence

from qviz.analysis.models import LoadedModel
from qviz.analysis.warning import Warning
from qviz.detector import Inspection

USUAL = (2, 4, 8)
"""Threads that a phone's code asks for."""


def nms_warnings(found: Inspection, name: str, threads: int = 1) -> list[Warning]:
    """threads: that the figures beside the warning were made with."""
    lost = lost_class(found, threads)
    if lost is not None:
        return [
            Warning(
                "class_lost_by_threads",
                f"{name} cannot detect {lost} with {threads} threads: TensorFlow Lite's NMS leaves out the class of"
                " that number. It counts as missed here, as on a device with so many threads.",
                CURE,
                name,
            )
        ]
    named = [f"{lost} with {some}" for some in USUAL if (lost := lost_class(found, some)) is not None]
    if not named:
        return []
    return [
        Warning(
            "class_lost_by_threads",
            f"On a device with several threads {name} never detects one class: {', '.join(named)} threads."
            " TensorFlow Lite's NMS leaves out the class of that number. With one thread, as here, all are there.",
            CURE,
            name,
            advice=True,
        )
    ]


def lost_by_threads(models: Sequence[LoadedModel], counts: Sequence[int]) -> list[str]:
    """A sentence a thread count and class that is lost with it."""
    found: dict[tuple[int, str], list[str]] = {}
    for count in counts:
        for model in models:
            if (lost := lost_class(model.inspection, count)) is not None:
                found.setdefault((count, lost), []).append(model.name)

    def told(names: list[str]) -> str:
        return f"any of these {len(names)} models" if len(names) == len(models) > 1 else ", ".join(names)

    return [
        f"With {count} threads {lost} is never detected by {told(names)}: TensorFlow Lite's NMS leaves out the class of"
        " that number."
        for (count, lost), names in found.items()
    ]


CURE = "Set the interpreter to one thread, or export the model with fast NMS, or without NMS and suppress outside."


def lost_class(found: Inspection, threads: int) -> str | None:
    """The label of the class that is never detected, if there is one."""
    options = found.post_process
    if not options.get("use_regular_nms") or not 1 < threads < options.get("num_classes", 0):
        return None
    return repr(found.label(threads - (found.settings.class_offset or 0)))
