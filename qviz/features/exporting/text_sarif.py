"""Gates and warnings about the files as SARIF 2.1.0, which code hosts show as alerts on a pull request.

Every result points to line 1 of the model's file, because a binary file has no lines. Its fingerprint depends only on
the rule and the file, so a code host recognises an alert even if its figures have changed. Source: OASIS, Static
Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.gate import Gate, losses_of
from qviz.formatting import encodable, interval, points

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    "ap-loss": "A quantized variant loses more AP than the limit allows.",
    "keypoint-ap-loss": "A quantized variant loses more AP of keypoints than the limit allows.",
    "mask-ap-loss": "A quantized variant loses more AP of masks than the limit allows.",
    "recall-loss": "A quantized variant loses more recall than the limit allows.",
    "cannot-conclude": "A gate cannot conclude.",
}
"""Id of a gate's rule -> its description. For a warning about a file, the rule id is the code of the warning."""
TEXT = "A reason to doubt a model file."


def sarif(result: Evaluation, gates: Sequence[Gate], files: Sequence[Path], version: str) -> dict[str, Any]:
    """Return failed gates and warnings as one SARIF document, ready for `json.dumps`.

    Args:
        files: The models' files, in the order of the evaluation. A file below the current folder gets a relative
            address, as code hosts expect for a file in the repository.
        version: Version of qviz.

    Example:
        >>> document = sarif(evaluation, [gate], [Path("float32.tflite"), Path("int8.tflite")], "0.2")
        >>> document["runs"][0]["results"][0]["level"]
        'error'
    """
    paths = {model.name: _address(file) for model, file in zip(result.models, files, strict=False)}
    results = [*_gate_results(result, gates, paths), *_warning_results(result, paths)]
    rules = [
        {"id": rule, "shortDescription": {"text": RULES.get(rule, TEXT)}}
        for rule in dict.fromkeys(row["ruleId"] for row in results)
    ]
    driver = {"name": "qviz", "version": version, "rules": rules}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _gate_results(result: Evaluation, gates: Sequence[Gate], paths: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for gate in gates:
        losses = losses_of(result, gate.measure)
        for name in gate.failed:
            loss = losses[name]
            bounds = interval(loss.low, loss.high)
            amount = "an unknown number of" if loss.value is None else points(loss.value)
            lost = f"{name} loses {amount} points{f' {bounds}' if bounds else ''}"
            text = " ".join([f"{lost}; the gate asks for {gate.condition}.", *gate.sentences])
            yield _row(f"{gate.measure.replace('_', '-')}-loss", "error", text, name, paths)
        if gate.inconclusive and result.models:
            text = " ".join(gate.sentences)
            yield _row("cannot-conclude", "warning", text, result.models[0].name, paths)


def _warning_results(result: Evaluation, paths: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for warning in result.warnings:
        level = "note" if warning.advice else "warning"
        name = warning.model or (result.models[0].name if result.models else "")
        yield _row(warning.code.replace("_", "-"), level, f"{warning.message} {warning.cure}", name, paths)


def _row(rule: str, level: str, text: str, name: str, paths: Mapping[str, str]) -> dict[str, Any]:
    uri = paths.get(name, quote(encodable(name)))
    location = {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": encodable(text)},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"primaryLocationLineHash": hashlib.sha256(f"{rule} {uri}".encode()).hexdigest()[:16]},
    }


def _address(file: Path) -> str:
    """The file's address: relative to the current folder if it lies below it, else absolute."""
    here, path = Path.cwd(), file.resolve()
    return quote(bytes(path.relative_to(here))) if path.is_relative_to(here) else path.as_uri()
