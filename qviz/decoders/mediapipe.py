"""Detectors of MediaPipe Model Maker: encodings and scores, with the anchors and the box coder in the file's metadata.

Encodings [1, n, 4] are ty, tx, th, tw. Scores [1, n, 1 + classes] have the background first; the metadata say whether
they are logits or probabilities. Sources: mediapipe/tasks/metadata/object_detector_metadata_schema.fbs and
mediapipe/calculators/tensor/tensors_to_detections_calculator.cc.
"""

from __future__ import annotations

from dataclasses import replace

from qviz.decoders.head import SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, probabilities, sigmoid, strong_rows
from qviz.decoders.ssd import decode_boxes
from qviz.structures import Graph, Tensor

Parts = tuple[Tensor, Tensor]
"""(encodings, scores)."""


class MediaPipe(Decoder[Parts]):
    """Decoder of encodings and scores that takes its anchors from the metadata."""

    expects = "encodings [1, n, 4] and scores [1, n, 1 + classes], with DETECTOR_METADATA in the file"
    defaults = replace(SIGNED_INPUT, nms_iou=0.5)

    def parts(self, graph: Graph) -> Parts | None:
        anchors, tensors = graph.notes.anchors, graph.output_tensors()
        if anchors is None or len(tensors) != 2:
            return None
        if any(len(t.shape) != 3 or t.shape[0] not in (1, -1) or t.shape[1] != len(anchors) for t in tensors):
            return None
        boxes = [t for t in tensors if t.shape[-1] == 4]
        if len(boxes) == 2:  # three classes and the background
            boxes = [t for t in boxes if not ends_in_probabilities(graph, t)]
        if len(boxes) != 1:
            boxes = [t for t in boxes if "box" in graph.names_of(t)] or boxes[:1]
        scores = [t for t in tensors if t not in boxes]
        return (boxes[0], scores[0]) if len(scores) == 1 and scores[0].shape[-1] >= 2 else None

    def classes(self, parts: Parts) -> int:
        return parts[1].shape[-1] - 1

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        notes = head.graph.notes
        assert notes.anchors is not None, "parts were found"
        encodings, scores = (head.values[t.index].reshape(-1, t.shape[-1]) for t in parts)
        logits = notes.sigmoid and not ends_in_probabilities(head.graph, parts[1])
        scores = (sigmoid(scores) if logits else probabilities(scores, certain=True))[:, 1:]
        strong = strong_rows(scores, limits)
        boxes = decode_boxes(encodings[strong], notes.anchors[strong], (head.width, head.height), notes.scales)
        return decoded(boxes, scores[strong], replace(limits, class_offset=0))
