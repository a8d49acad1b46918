"""The peer: a page as in a tutorial, with two interpreters in the script, boxes drawn by OpenCV, and `st.image`."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import streamlit as st
from ai_edge_litert.interpreter import Interpreter

warnings.simplefilter("ignore")
MODELS = Path(__file__).resolve().parents[1] / "sample_data" / "models"
NAMES = ("float32", "int8")


@st.cache_resource
def interpreter(name: str) -> Interpreter:
    model = Interpreter(str(MODELS / f"ssdlite_mobilenet_v2_{name}.tflite"), num_threads=2)
    model.allocate_tensors()
    return model


def drawn(name: str, image: np.ndarray) -> np.ndarray:
    run = interpreter(name).get_signature_runner("serving_default")
    outputs = run(input=(cv2.resize(image, (300, 300)).astype(np.float32) / 127.5 - 1)[None])
    picture, (height, width) = image.copy(), image.shape[:2]
    for box, score in zip(outputs["detection_boxes"][0], outputs["detection_scores"][0], strict=True):
        if score >= 0.25:
            y1, x1, y2, x2 = (box * [height, width, height, width]).astype(int)
            cv2.rectangle(picture, (x1, y1), (x2, y2), (0, 255, 0), 2)
    return picture


st.set_page_config(layout="wide")
dropped = st.file_uploader("Image")
if dropped is not None:
    data = np.frombuffer(dropped.getvalue(), np.uint8)
    pixels = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    for column, model_name in zip(st.columns(2), NAMES, strict=True):
        column.image(drawn(model_name, pixels), caption=f"{model_name} {dropped.name}")
