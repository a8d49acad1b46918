"""PicoDet without its post-processing: scores and distances apart, strides 8, 16, 32, 64, 8 bins a side.

Formula and sources: `distances`; input: PaddleDetection configs/picodet (ImageNet's mean and spread, RGB, stretched).
"""

from __future__ import annotations

from qviz.decoders.distance_levels import distance_head
from qviz.structures import Settings

INPUT = Settings(
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    channels="rgb",
    resize="stretch",
    nms_iou=0.6,
    max_detections=100,
)

PICODET = distance_head(INPUT, (8, 16, 32, 64), (8,))
