"""`qviz info` prints scheme, quantized operators, float islands, inputs, outputs, decoder, settings and warnings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz import formatting
from qviz.cli import options, output
from qviz.errors import QvizError
from qviz.features.inspection.text import converter_lines
from qviz.structures import Scheme

if TYPE_CHECKING:
    from qviz.features.inspection import ModelInfo


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=".tflite, SavedModel, .keras or .h5 file")
    parser.add_argument("--against", type=Path, metavar="REF", help="check whether the models were made from this one")
    options.add_common(parser, csv=False)


def run(args: argparse.Namespace) -> int:
    models, errors = [], []
    with options.session_of(args, args.models[:1]) as session:
        from qviz.features.detection.models import load_model, read_source
        from qviz.features.inspection import info

        for path in args.models:  # one by one, so that a file that cannot be read does not hide the others
            try:
                models.append(load_model(session.context.engine, read_source(path, session.settings)))
            except QvizError as error:
                errors.append(str(error))
        against = args.against and load_model(session.context.engine, read_source(args.against, session.settings))
        result = info(session.context, models, errors, against)
    if args.json:
        output.print_json(result.to_json())
    else:
        for model in result.models:
            _print(model)
    options.remark(errors)
    return 2 if errors else 0


def _weights(model: ModelInfo) -> str:
    """A description of the weights, e.g. `8-bit weights with one scale per channel`; float weights have no scale."""
    if model.scheme == Scheme.RECORDED:
        return "no weights"
    scales = f" with one scale per {'channel' if model.per_channel else 'tensor'}" if model.weight_bits <= 8 else ""
    return f"{model.weight_bits}-bit weights{scales}"


def _print(model: ModelInfo) -> None:
    size = formatting.megabytes(model.bytes)
    print(f"{model.name}  {model.scheme}, {size}, {_weights(model)}")
    operators = f"{model.quantized_operators} of {formatting.plural(model.operators, 'operator')} quantized"
    islands = formatting.plural(len(model.float_islands), "float island")
    print(f"  {operators}, {islands}, decoder {model.decoder}")
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            scale = f" scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}" if tensor["scale"] else ""
            print(f"  {kind} {tensor['name']} {tensor['shape']} {tensor['dtype']}{scale}")
    stated = {name: value for name, value in model.settings.items() if name in model.settings_from}
    print("  " + ", ".join(f"{name} {value} ({model.settings_from[name]})" for name, value in stated.items()))
    print(f"  {formatting.plural(len(model.labels), 'label')}")
    if model.made_from is not None:
        print(f"  made from the reference: {model.made_from.value}. {model.made_from.reason}")
    for line in converter_lines(model.converter_report) if model.converter_report is not None else ():
        print(f"  {line}")
    for warning in model.warnings:
        print(f"  ! {warning.message} {warning.cure}")
