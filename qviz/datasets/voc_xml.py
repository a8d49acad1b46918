"""One Pascal VOC annotation from its XML: file name, size and objects, as the texts that stand there.

The bytes are untrusted: a document type (the place where entities are declared, those that swell and those that read
other files) is refused, as are files of more than 4 MB and elements nested deeper than any annotation's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

MAX_XML = 4 << 20
MAX_DEPTH = 20
OBJECT = ("annotation", "object")
PLAIN = {("annotation", "filename"), ("annotation", "size", "width"), ("annotation", "size", "height")}
OF_OBJECT = {
    (*OBJECT, "name"),
    (*OBJECT, "difficult"),
    *((*OBJECT, "bndbox", side) for side in ("xmin", "ymin", "xmax", "ymax")),
}
"""An object's own: a part of it (head, hand) has a name and a box of its own, one level deeper."""


@dataclass(slots=True)
class VocXml:
    """texts: by the element's name; objects: the same for each."""

    texts: dict[str, str] = field(default_factory=dict)
    objects: list[dict[str, str]] = field(default_factory=list)


def parse_xml(data: bytes) -> VocXml:
    """Raises ValueError with what is wrong."""
    if len(data) > MAX_XML:
        raise ValueError(f"more than {MAX_XML >> 20} MB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an encoding that is none
        raise ValueError(f"no XML ({error})") from error
    if reader.root != OBJECT[0]:
        raise ValueError(f"<{str(reader.root)[:30]}> instead of <annotation>")
    return reader.found


def _refuse(*_: object) -> None:
    raise ValueError("a document type, which no annotation needs")


class _Reader:
    """What expat calls, element by element."""

    def __init__(self) -> None:
        self.found = VocXml()
        self.root: str | None = None
        self._path: tuple[str, ...] = ()
        self._texts: list[str] = []

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self.root = self.root or name
        self._path = (*self._path, name)
        self._texts = []
        if len(self._path) > MAX_DEPTH:
            raise ValueError("elements nested too deep")
        if self._path == OBJECT:
            self.found.objects.append({})

    def text(self, text: str) -> None:
        self._texts.append(text)

    def end(self, name: str) -> None:
        text = "".join(self._texts).strip()
        self._texts = []
        if self._path in PLAIN:
            self.found.texts.setdefault(name, text)
        elif self._path in OF_OBJECT:
            self.found.objects[-1].setdefault(name, text)
        self._path = self._path[:-1]
