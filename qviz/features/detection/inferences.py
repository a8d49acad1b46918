"""The inferences of many images: in memory up to a limit, the others in a temporary file.

An inference with 100 detections takes about 3 kB, and one with candidates and masks up to some 100 kB, so those of tens
of thousands of images would fill the memory. The file has no name and disappears with the object.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from typing import IO

import numpy as np

from qviz.features.detection.cache import from_bytes, to_bytes
from qviz.structures import Detections, Inference

Key = tuple[str, str]
"""(model digest, image digest)."""
BYTES_IN_MEMORY = 64 << 20
OVERHEAD = 1_000
"""Bytes that the objects of an inference take besides their values."""


class Inferences(MutableMapping[Key, Inference]):
    """(model digest, image digest) -> inference. `bytes_in_memory`: how many bytes of them stay in memory."""

    def __init__(self, bytes_in_memory: int = BYTES_IN_MEMORY) -> None:
        self._rows: dict[Key, Inference | tuple[int, int]] = {}
        self._memory_left = bytes_in_memory
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def __getitem__(self, key: Key) -> Inference:
        row = self._rows[key]
        if isinstance(row, Inference):
            return row
        inference = from_bytes(self._read(*row))
        if inference is None:
            raise OSError("the temporary file of detections was changed")
        return inference

    def __setitem__(self, key: Key, inference: Inference) -> None:
        size = OVERHEAD + sum(map(_bytes, (inference.detections, inference.candidates)))
        if size <= self._memory_left:
            self._memory_left -= size
            self._rows[key] = inference
            return
        try:
            self._rows[key] = self._appended(to_bytes(inference))
        except OSError:  # no room on the disk
            self._rows[key] = inference

    def __delitem__(self, key: Key) -> None:
        del self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def _appended(self, data: bytes) -> tuple[int, int]:
        """(position, length) of the data in the file. Raises OSError if there is no room."""
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="qviz-detections-", buffering=0)  # noqa: SIM115
            start = self._file.seek(0, os.SEEK_END)
            if self._file.write(data) < len(data):
                raise OSError("the disk is full")
            return start, len(data)

    def _read(self, start: int, length: int) -> bytes:
        assert self._file is not None
        with self._lock:
            self._file.seek(start)
            return self._file.read(length)


def _bytes(detections: Detections | None) -> int:
    arrays = [] if detections is None else [getattr(detections, name) for name in detections.__slots__]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


class ModelDetections(Mapping[int, Detections]):
    """Image id -> detections of one model, read from its inferences when they are needed.

    Args:
        model: Digest of the model.
        digests: Image id -> digest of the image.
    """

    def __init__(self, inferences: Mapping[Key, Inference], model: str, digests: Mapping[int, str]) -> None:
        self._inferences, self._model, self._digests = inferences, model, digests

    def __getitem__(self, image: int) -> Detections:
        return self._inferences[self._model, self._digests[image]].detections

    def __contains__(self, image: object) -> bool:
        return image in self._digests

    def __iter__(self) -> Iterator[int]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)
