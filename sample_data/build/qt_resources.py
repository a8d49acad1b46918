"""Reads one file out of a Qt binary resource (.rcc), the form in which GCompris ships its photographs.

A resource is a tree of nodes, a heap of names and a heap of file bodies; all numbers are big-endian.
A node: name offset u32, flags u16, then for a folder count u32 and first child u32, for a file
country u16, language u16 and body offset u32; format 2 and later end with an 8-byte time.
"""

import struct
import zlib

COMPRESSED_ZLIB, FOLDER, COMPRESSED_ZSTD = 1, 2, 4


def read_resource(blob: bytes, path: str) -> bytes:
    """The bytes of the file at `path` (slashes, no leading one)."""
    magic, version, tree, bodies, names = struct.unpack_from(">4sIIII", blob)
    if magic != b"qres":
        raise ValueError(f"not a Qt resource: it starts with {magic!r}, expected b'qres'")
    node_size = 22 if version >= 2 else 14

    def name_of(node: int) -> str:
        at = names + struct.unpack_from(">I", blob, tree + node * node_size)[0]
        (length,) = struct.unpack_from(">H", blob, at)
        return blob[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

    node = 0
    for part in path.split("/"):
        count, first = struct.unpack_from(">II", blob, tree + node * node_size + 6)
        children = {name_of(child): child for child in range(first, first + count)}
        if part not in children:
            raise KeyError(f"no {part!r} of {path!r} in the resource; there are {sorted(children)}")
        node = children[part]
    return _body(blob, tree + node * node_size, bodies)


def _body(blob: bytes, node: int, bodies: int) -> bytes:
    flags, offset = struct.unpack_from(">4xH4xI", blob, node)
    if flags & (FOLDER | COMPRESSED_ZSTD):
        raise ValueError(f"expected a plain or zlib file, the node's flags are {flags}")
    (length,) = struct.unpack_from(">I", blob, bodies + offset)
    body = blob[bodies + offset + 4 : bodies + offset + 4 + length]
    return zlib.decompress(body[4:]) if flags & COMPRESSED_ZLIB else body
