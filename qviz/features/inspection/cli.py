"""what a model file really is

Scheme, share of quantized operators, float islands, inputs and outputs, decoder, settings and warnings.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import QvizError

if TYPE_CHECKING:
    from qviz.features.detection.models import LoadedModel


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser, csv=False)


def run(args: argparse.Namespace) -> int:
    from qviz.features.detection.models import load_model, read_source

    said, found, errors = options.settings_of(args), [], []
    with options.engine_of(args) as engine:
        for path in args.models:
            try:
                found.append(load_model(engine, read_source(path, said)))
            except QvizError as error:
                errors.append(str(error))
    if args.json:
        output.print_json({"models": [_facts(model) for model in found], "errors": errors})
    else:
        for model in found:
            _show(_facts(model))
    options.remark(errors)
    return 2 if errors else 0


def _facts(model: LoadedModel) -> dict[str, Any]:
    from qviz.features.inspection.lint import lint_model
    from qviz.tflite.scheme import io_facts

    seen = model.inspection
    return {
        "name": model.name,
        "sha256": model.digest,
        "bytes": model.bytes,
        "scheme": str(model.scheme),
        "weight_bits": seen.facts.weight_bits,
        "per_channel": seen.facts.per_channel,
        "inputs": [io_facts(tensor) for tensor in seen.graph.input_tensors()],
        "outputs": [io_facts(tensor) for tensor in seen.graph.output_tensors()],
        "operators": seen.facts.operators,
        "quantized_operators": seen.facts.quantized_operators,
        "float_islands": [list(island) for island in seen.facts.float_islands],
        "decoder": seen.decoder,
        "decoders": list(seen.decoders),
        "post_process": seen.post_process,
        "settings": seen.settings.to_json(),
        "settings_from": seen.sources,
        "labels": list(seen.labels),
        "warnings": [warning.to_json() for warning in lint_model(model)],
    }


def _show(facts: dict[str, Any]) -> None:
    print(f"{facts['name']}  {facts['scheme']}, {output.megabytes(facts['bytes'])}, {facts['weight_bits']}-bit weights")
    share = f"{facts['quantized_operators']} of {facts['operators']} operators quantized"
    print(f"  {share}, {len(facts['float_islands'])} float islands, decoder {facts['decoder']}")
    for kind in ("inputs", "outputs"):
        for tensor in facts[kind]:
            scale = f" scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}" if tensor["scale"] else ""
            print(f"  {kind[:-1]} {tensor['name']} {tensor['shape']} {tensor['dtype']}{scale}")
    said = [f"{name} {value} ({facts['settings_from'][name]})" for name, value in facts["settings"].items()]
    print("  " + ", ".join(said))
    print(f"  {len(facts['labels'])} labels")
    for warning in facts["warnings"]:
        print(f"  ! {warning['message']} {warning['cure']}")
