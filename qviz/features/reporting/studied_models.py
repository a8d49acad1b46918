"""The models of a session as a study describes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qviz.context import Context
from qviz.features.detection.models import LoadedModel, short_names, unique_names
from qviz.features.inspection.lint import lint_all, lint_comparison, lint_model, lint_origin
from qviz.features.reporting.study import StudiedModel
from qviz.formatting import plural


def studied_models(context: Context, models: Sequence[LoadedModel]) -> tuple[StudiedModel, ...]:
    """The models as a study describes them, the reference first."""
    names = unique_names([short_names(models)[model.digest] for model in models])
    return tuple(_studied(context, name, model, models[0]) for name, model in zip(names, models, strict=True))


def _studied(context: Context, name: str, model: LoadedModel, reference: LoadedModel) -> StudiedModel:
    if model is reference:
        warnings = lint_all(context, [model])
    else:
        warnings = lint_origin(context, reference, [model]) + lint_model(model, context.threads)
        warnings += lint_comparison(reference, [model])
    return StudiedModel(
        name=name,
        file=model.name,
        scheme=str(model.scheme),
        bytes=model.bytes,
        sha256=model.digest,
        facts=tuple(_facts(model)),
        settings=model.settings.to_json(),
        sources=dict(model.inspection.sources),
        labels=len(model.inspection.labels),
        warnings=tuple(warnings),
    )


def _facts(model: LoadedModel) -> Iterator[str]:
    """Facts about the file, in a few words each."""
    facts = model.inspection.facts
    if model.is_recorded:
        yield "recorded results, no network"
        return
    yield f"{facts.weight_bits}-bit weights"
    if facts.quantized_operators:
        yield f"{facts.quantized_operators} of {plural(facts.operators, 'operator')} quantized"
        yield plural(len(facts.float_islands), "float island")
        yield "per channel" if facts.per_channel else "per tensor"
    else:
        yield plural(facts.operators, "operator")
    for tensor in model.inspection.graph.input_tensors()[:1]:
        yield f"input {'×'.join(str(side) for side in tensor.shape[1:])} {tensor.dtype}"
