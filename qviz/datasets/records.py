"""The framing of a TFRecord file: where its records begin and end.

    length (8 bytes)   masked crc32c of the length (4)   the record   masked crc32c of the record (4)    little-endian

The length's checksum is verified, so that a damaged file is never read at a wrong place; the record's is not: in Python
that would take longer than decoding its image, which tells damage as well. Nothing can be found again behind a damaged
length, so what follows it is left out.

Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/lib/hash/crc32c.h (the mask); RFC 3720, appendix B.4.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

HEADER, FOOTER = 12, 4
MAX_RECORD = 128 << 20
"""Bytes of an image and its annotations, masks among them."""
_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8


def is_tfrecord(data: bytes) -> bool:
    """By the checksum of the first record's length."""
    return _length(data[:HEADER]) is not None


def read_records(stream: BinaryIO, size: int, skipped: Counter[str]) -> Iterator[bytes]:
    """The records of a stream of `size` bytes, one at a time; what is left out is counted."""
    while header := stream.read(HEADER):
        length, start = _length(header), stream.tell()
        if length is None:
            skipped["bytes behind a damaged record length"] += size - start + len(header)
            return
        if start + length + FOOTER > size:
            skipped["records cut short"] += 1
            return
        if length > MAX_RECORD:
            skipped[f"records of more than {MAX_RECORD >> 20} MB"] += 1
            stream.seek(length + FOOTER, 1)
            continue
        yield stream.read(length)
        stream.seek(FOOTER, 1)


def masked_crc32c(data: bytes) -> int:
    """Rotated right by 15 bits, and a constant added: a checksum of data that holds checksums is a weak one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def _length(header: bytes) -> int | None:
    if len(header) < HEADER:
        return None
    length, checksum = struct.unpack("<QI", header)
    return int(length) if masked_crc32c(header[:8]) == checksum else None
