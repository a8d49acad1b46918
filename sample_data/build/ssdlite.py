"""The SSDLite MobileNetV2 COCO detector as a SavedModel ready for the TFLite converter.

Conventions
- Input: RGB, (1, 300, 300, 3) float32 in [-1, 1], that is x / 127.5 - 1 of the 8-bit image.
- Anchors: (1917, 4) as (y centre, x centre, height, width), in parts of the image side.
- Box encodings: (1, 1917, 4) as (ty, tx, th, tw) of the Faster R-CNN box coder,
      y = ty / 10 * ha + ya,  x = tx / 10 * wa + xa,  h = exp(th / 5) * ha,  w = exp(tw / 5) * wa.
- Class logits: (1, 1917, 91), column 0 the background; the score is the sigmoid.
- Detections: boxes (1, 25, 4) as (ymin, xmin, ymax, xmax) in parts of the image side; classes
  (1, 25), where class c is COCO category id c + 1; scores (1, 25); number of detections (1,).

The export follows the TensorFlow Object Detection API (`export_tflite_graph_lib_tf2.py`,
Apache-2.0): TensorFlow has no counterpart of TFLite's `TFLite_Detection_PostProcess`, so an empty
function carries the operator's name and attributes, and the converter puts the operator in its
place. In TensorFlow itself the default signature therefore gives zeros: use `raw_head` there.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tfjs_graph import constant, cut

IMAGE_SHAPE = (1, 300, 300, 3)

# Names of nodes in the published graph.
INPUT = "Preprocessor/sub"  # the image in [-1, 1]
BOX_ENCODINGS = "Squeeze"
CLASS_LOGITS = "concat_1"
ANCHORS = "Postprocessor/ExpandDims"

# Class-wise NMS at IoU .6, as in the model's published pipeline. On 80 images of COCO val2017 this
# gives AP .315; 100 detections would give .318, and the export's default of one NMS over all
# classes .309 (25 detections). 25 keep a picture of the result readable. The kernel's attribute
# detections_per_class is left out: the converter drops it, and its default of 100 never binds here.
POSTPROCESS = {
    "max_detections": "i: 25",
    "max_classes_per_detection": "i: 1",
    "use_regular_nms": "b: true",
    "nms_score_threshold": "f: 0.05",
    "nms_iou_threshold": "f: 0.6",
    "y_scale": "f: 10.0",
    "x_scale": "f: 10.0",
    "h_scale": "f: 5.0",
    "w_scale": "f: 5.0",
    "num_classes": "i: 90",
}


def implements() -> str:
    """The post-process operator's name and attributes, as the converter reads them."""
    attributes = [f'attr {{ key: "{key}" value {{ {v} }} }}' for key, v in POSTPROCESS.items()]
    return " ".join(['name: "TFLite_Detection_PostProcess"', *attributes])


@tf.function(experimental_implements=implements())
def postprocess(box_encodings: tf.Tensor, class_scores: tf.Tensor, anchors: tf.Tensor) -> tuple:
    """Stands for the operator, whose results come in this order."""
    return tuple(tf.constant(0.0, name=name) for name in ("boxes", "classes", "scores", "count"))


def centre_size(corners: np.ndarray) -> np.ndarray:
    """[N, 4] (ymin, xmin, ymax, xmax) -> [N, 4] (y centre, x centre, height, width)."""
    size = corners[:, 2:] - corners[:, :2]
    return np.concatenate([corners[:, :2] + size / 2, size], axis=1)


class SSDLite(tf.Module):
    """The network from image to box encodings and class logits; its float constants are variables.

    Both signatures trace the network: as constants the weights would be saved twice.
    """

    def __init__(self, graph: GraphDef) -> None:
        super().__init__(name="ssdlite_mobilenet_v2")
        self._head = cut(graph, INPUT, IMAGE_SHAPE, (BOX_ENCODINGS, CLASS_LOGITS))
        self._anchors = centre_size(constant(graph, ANCHORS)[0])  # [1917, 4]
        self._names = [
            node.name
            for node in self._head.node
            if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum
        ]
        self.parameters = [tf.Variable(constant(graph, name), name=name) for name in self._names]

    def head(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[1, 300, 300, 3] -> box encodings [1, 1917, 4], class logits [1, 1917, 91]."""
        weights = [tf.convert_to_tensor(variable) for variable in self.parameters]
        values = dict(zip(self._names, weights, strict=True))
        structure = GraphDef(versions=self._head.versions)
        structure.node.extend(node for node in self._head.node if node.name not in values)
        boxes, logits = tf.graph_util.import_graph_def(
            structure,
            input_map={INPUT: image, **values},
            return_elements=[f"{BOX_ENCODINGS}:0", f"{CLASS_LOGITS}:0"],
            name="",
        )
        return boxes, logits

    @tf.function(input_signature=[tf.TensorSpec(IMAGE_SHAPE, tf.float32, "input")])
    def detect(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """The default signature: detections, once converted (see the module's text)."""
        box_encodings, logits = self.head(image)
        boxes, classes, scores, count = postprocess(
            tf.identity(box_encodings, "raw_outputs/box_encodings"),
            tf.identity(tf.sigmoid(logits), "raw_outputs/class_predictions"),
            tf.constant(self._anchors, name="anchors"),
        )
        return {
            "detection_boxes": boxes,
            "detection_classes": classes,
            "detection_scores": scores,
            "num_detections": count,
        }

    @tf.function(input_signature=[tf.TensorSpec(IMAGE_SHAPE, tf.float32, "input")])
    def raw_head(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the network itself computes, before sigmoid, decoding and NMS."""
        boxes, logits = self.head(image)
        anchors = tf.constant(self._anchors)  # [1917, 4]
        return {"box_encodings": boxes, "class_logits": logits, "anchors": anchors}


def save(model: SSDLite, folder: Path) -> None:
    """Writes the SavedModel with its two signatures."""
    tf.saved_model.save(
        model,
        str(folder),
        signatures={"serving_default": model.detect, "raw_head": model.raw_head},
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    # It holds a random id, the one thing to differ between builds. Loading does without it.
    (folder / "fingerprint.pb").unlink(missing_ok=True)
