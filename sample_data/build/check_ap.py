"""Average precision of .tflite detectors by LiteRT and pycocotools alone: an outside check.

    python sample_data/build/check_ap.py --images DIR --annotations instances.json MODEL.tflite ...

For the sample's models: RGB stretched to 300 x 300, x / 127.5 - 1, boxes (ymin, xmin, ymax, xmax)
in parts of the image side, class c = COCO category id c + 1. AP is COCO's, mean over IoU .50:.95;
AP50 at IoU .50. All images of the annotation file are evaluated. Nothing of qviz is imported.
"""

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def network_input(path: Path) -> np.ndarray:
    """[1, 300, 300, 3] float32 in [-1, 1]."""
    # Pixels as stored: COCO's boxes know nothing of an EXIF orientation.
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f"{path} is missing or no image that OpenCV reads")
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    square = cv2.resize(rgb, (300, 300), interpolation=cv2.INTER_LINEAR)
    return (square.astype(np.float32) / 127.5 - 1.0)[np.newaxis]


def detections(outputs: dict[str, np.ndarray], image: dict[str, Any]) -> list[dict[str, Any]]:
    """COCO results of one image; boxes become (x, y, width, height) in its pixels."""
    count = int(outputs["num_detections"].item())
    scale = np.array([image["height"], image["width"]] * 2)
    results = []
    for i in range(count):
        ymin, xmin, ymax, xmax = (outputs["detection_boxes"][0, i] * scale).tolist()
        results.append(
            {
                "image_id": image["id"],
                "category_id": int(outputs["detection_classes"][0, i]) + 1,
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "score": float(outputs["detection_scores"][0, i]),
            }
        )
    return results


def average_precision(model: Path, images: Path, truth: COCO) -> tuple[float, float]:
    """(AP, AP50) of the model, each in 0..1."""
    detect = Interpreter(str(model), num_threads=1).get_signature_runner("serving_default")
    results: list[dict[str, Any]] = []
    for image in truth.loadImgs(sorted(truth.getImgIds())):
        outputs = detect(input=network_input(images / image["file_name"]))
        results += detections(outputs, image)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    args = parser.parse_args()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(args.annotations))
    for model in args.models:
        ap, ap50 = average_precision(model, args.images, truth)
        print(f"{model.name}: AP {ap:.4f}, AP50 {ap50:.4f}")


if __name__ == "__main__":
    main()
