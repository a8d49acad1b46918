"""The images of a dataset as they are read, one at a time: which bytes they were, and which could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from qviz.errors import ImageError
from qviz.structures import DatasetImage, EncodedImage


@dataclass(slots=True, eq=False)
class Reading:
    """digests: image id -> digest of those read (two files may share a name); unread: a sentence for each other one."""

    digests: dict[int, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def of(self, images: Iterable[DatasetImage]) -> Iterator[EncodedImage]:
        """Those that can be read, noted as they come; one that is read again is said once."""
        for image in images:
            try:
                encoded = image.encoded()
            except ImageError as error:
                if str(error) not in self.unread:
                    self.unread.append(str(error))
                continue
            self.digests[image.id] = encoded.digest
            yield encoded
