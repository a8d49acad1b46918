"""A study as a file: JSON, its arrays and JPEGs in base64, so that it opens on another machine without the models.

What comes from a file is checked field by field (`typed_json`, `study_checks`) and never executed. The detections of
every image are left out: they would be most of the file and no page of a study shows them; `qviz evaluate` has them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from qviz.analysis.study import Study
from qviz.analysis.study_checks import faults
from qviz.analysis.typed_json import Misfit, decode, encode
from qviz.errors import StudyError

KEY = "qviz_study"
VERSION = 1
MOST_BYTES = 48 << 20
CURE = "Make it anew with `qviz report … --save-study FILE`."


def to_json(study: Study) -> dict[str, Any]:
    """{"qviz_study": version, "study": ...}"""
    found = study.evaluation
    kept = study if found is None else replace(study, evaluation=replace(found, results=(), image_ids={}))
    return {KEY: VERSION, "study": encode(kept)}


def from_json(said: Any, where: str = "The file") -> Study:
    """The study that `to_json` told. Raises StudyError."""
    if not isinstance(said, dict) or KEY not in said:
        raise StudyError(f"{where} is no study of qviz. {CURE}")
    if said[KEY] != VERSION:
        raise StudyError(
            f"{where} is a study of version {str(said[KEY])[:20]}; this qviz reads version {VERSION}. {CURE}"
        )
    try:
        study: Study = decode(Study, said.get("study"), "study")
    except Misfit as misfit:
        raise StudyError(f"{where} is a damaged study: {misfit}. {CURE}") from None
    if fault := next(faults(study), None):
        raise StudyError(f"{where} is a damaged study: {fault}. {CURE}")
    return study


def study_bytes(study: Study) -> bytes:
    """The file. Raises StudyError where it would be too large to be read again."""
    data = json.dumps(to_json(study), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    if len(data) > MOST_BYTES:
        raise StudyError(
            f"The study has {len(data) >> 20} MB; files of up to {MOST_BYTES >> 20} are read. Compare fewer images."
        )
    return data


def read_study(data: bytes, name: str) -> Study:
    """The study in a file. name: for sentences. Raises StudyError."""
    if len(data) > MOST_BYTES:
        raise StudyError(f"{name} has {len(data) >> 20} MB; studies of up to {MOST_BYTES >> 20} MB are read.")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, a number of a thousand digits, lists without end
        raise StudyError(f"{name} is no JSON, so it is no study of qviz. {CURE}") from None
    return from_json(said, name)


def is_study(data: bytes) -> bool:
    """Whether a file says of itself that it is one."""
    return data[:64].lstrip().replace(b" ", b"").startswith(b'{"%s":' % KEY.encode())
