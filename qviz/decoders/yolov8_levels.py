"""YOLOv8 and YOLO11 cut off before the decoding: scores and distances apart, strides 8, 16, 32, 16 bins a side.

So are files for accelerators that quantize badly what follows. Formula and sources: `distances`.
"""

from __future__ import annotations

from qviz.decoders.distance_levels import distance_head
from qviz.decoders.yolov8 import YOLOv8

YOLOV8_LEVELS = distance_head(YOLOv8.defaults, (8, 16, 32), (16,))
