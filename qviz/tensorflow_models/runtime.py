"""TensorFlow, quiet, on the CPU and with Keras 3."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def tensorflow(threads: int = 1) -> Iterator[Any]:
    """Import TensorFlow.

    Standard output is captured during the import: TensorFlow prints there and would corrupt a command's JSON.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # otherwise each worker would take the whole GPU
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    with contextlib.redirect_stdout(io.StringIO()):
        import tensorflow as tf  # takes 4 s, so only workers that need it import it

        tf.get_logger().setLevel("ERROR")
        with contextlib.suppress(RuntimeError):  # raised after the first operator has run
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        yield tf


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without TensorFlow's stack trace; the error's type if it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
