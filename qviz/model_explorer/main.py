"""The node data provider. Model Explorer imports this module and registers the class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from model_explorer.config_editor import TextInputConfigEditor
from model_explorer.node_data_builder import GradientItem, GraphNodeData, NodeDataResult
from model_explorer.node_data_provider import (
    GetConfigEditorsResult,
    NodeDataProvider,
    NodeDataProviderFilter,
    NodeDataProviderMetadata,
    NodeDataProviderResult,
)

from qviz.errors import QvizError, SettingsError
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import CUMULATIVE, FALL, LOCAL, Metric, node_data, sync_mapping_json
from qviz.session import Session

REFERENCE, IMAGES, MAPPING = "reference", "images", "mapping"
"""Ids of the fields of the dialog."""
SHOWN = (LOCAL, FALL, CUMULATIVE)
"""The figures that are sent to Model Explorer, which colours the graph by the last one."""


class QvizLayers(NodeDataProvider):  # type: ignore[misc]
    """Compares the model in view with its reference, as `qviz layers` does."""

    metadata: ClassVar[Any] = NodeDataProviderMetadata(
        id="qviz_layers",
        name="qviz: error of each operator",
        description="Compares a quantized .tflite model with its float32 reference on your images.",
        icon="difference",
        filter=NodeDataProviderFilter(modelFileExts=["tflite"]),
    )

    def get_config_editors(self, provider_id: str) -> GetConfigEditorsResult:
        """The fields of the dialog. They take paths on the machine on which Model Explorer runs."""
        editors = [
            TextInputConfigEditor(
                id=REFERENCE,
                label="Reference",
                description="Path of the float32 .tflite file; the model in view is the variant.",
                required=True,
            ),
            TextInputConfigEditor(
                id=IMAGES, label="Images", description="Path of an image or of a folder of images.", required=True
            ),
            TextInputConfigEditor(
                id=MAPPING,
                label="Mapping for Sync (optional)",
                description="A new .json file, for 'Upload mapping from computer' with the reference on the left.",
            ),
        ]
        return GetConfigEditorsResult(configEditors=editors)

    def run(
        self, provider_id: str, model_path: str, graph_id: str, config_values: dict[str, Any], graph: Any
    ) -> NodeDataProviderResult:
        """One set of node data per figure in `SHOWN`, or an error with the reason why there is none."""
        values = {name: str(config_values.get(name) or "").strip() for name in (REFERENCE, IMAGES, MAPPING)}
        try:
            mapping = _mapping_file(values[MAPPING])
            with Session(values[REFERENCE], model_path, images=values[IMAGES]) as session:
                result = session.layers()
            if mapping is not None:
                _write(mapping, sync_mapping_json(result.pairs))
        except QvizError as error:
            return NodeDataProviderResult(error=str(error))
        return NodeDataProviderResult(result=[_graph_data(result, metric) for metric in SHOWN])


def _graph_data(result: LayerErrors, metric: Metric) -> GraphNodeData:
    data = node_data(result.layers, metric)
    return GraphNodeData(
        results={key: NodeDataResult(**row) for key, row in data["results"].items()},
        name=metric.label,
        gradient=[GradientItem(**row) for row in data["gradient"]],
        hideAggregatedStats=data["hideAggregatedStats"],
        hideInChildrenStatsTable=data["hideInChildrenStatsTable"],
    )


def _mapping_file(text: str) -> Path | None:
    """The file to write; None if the text is empty. Raises SettingsError if it exists, or is not a .json file."""
    if not text:
        return None
    path = Path(text).expanduser()
    if path.suffix != ".json":
        raise SettingsError(f"{path} is not the name of a .json file; give e.g. sync.json, or leave the field empty.")
    if path.exists():
        raise SettingsError(f"{path} exists; give another name for the mapping.")
    return path


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as stream:  # whoever can reach the server must not replace a file
            stream.write(text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}); give another file.") from error
