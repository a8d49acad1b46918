"""A stray file does not become the label file; the usual forms of label files do."""

from __future__ import annotations

import pytest

from qviz.datasets.labels import COCO_80
from qviz.datasets.recognised_labels import recognised_labels
from qviz.errors import LabelsError

LABELS = [
    ("labels.txt", "person\ntraffic light\nhot dog\n"),
    ("coco.names", "\n".join(COCO_80)),
    ("labels.txt", "0 person\n1 bicycle\n3 car\n"),
    ("labels.txt", "1: red\n2: green\n"),
    ("labels.txt", "???\nperson\n???\n???\ncar\n"),
    ("imagenet.txt", "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias\ntench\n"),
    ("one.txt", "defect\n"),
    ("names.json", '["person", "car"]'),
    ("names.json", '{"0": "person", "1": "car"}'),
    ("names.json", '{"id2label": {"0": "person"}}'),
    ("data.yaml", "path: x\nnames: [a, b]\n"),
    ("map.pbtxt", 'item { id: 1 name: "a" }\nitem { id: 2 name: "b" }'),
    ("names.json", '{"person": 0, "car": 1, "dog": 2}'),
]


@pytest.mark.parametrize(("name", "text"), LABELS)
def test_label_files(name: str, text: str) -> None:
    assert recognised_labels(text.encode(), name)


STRAY = [
    ("a.json", '{"a":1}', "do not number classes from 0 or 1"),
    ("size.json", '{"width": 640, "height": 480}', "do not number classes from 0 or 1"),
    ("package.json", '{"name": "x", "version": "1.0"}', "class names must be a list"),
    ("mixed.json", '{"0": "person", "1": 5}', "its values are not names"),
    ("numbers.json", "[1, 2, 3]", "class names must be a list"),
    ("0001.txt", "0 0.5 0.5 0.1 0.1\n2 0.1 0.2 0.3 0.4\n", "is a row of numbers"),
    ("requirements.txt", "numpy==1.26\nscipy>=1.1\n", "'numpy==1.26' is not a class name"),
    ("README.txt", "This model was trained on COCO.\nUse it with care.\n", "is not a class name"),
    ("notes.txt", "first\n\nsecond\n", "empty lines"),
    ("log.txt", "done\ndone\n", "the same line twice"),
    ("compose.yaml", "services:\n  web:\n", "it has no `names:`"),
    ("links.txt", "https://example.com\n", "is not a class name"),
    ("config.pbtxt", "model\nssd\n", "it has no `item"),
]


@pytest.mark.parametrize(("name", "text", "reason"), STRAY)
def test_stray_files(name: str, text: str, reason: str) -> None:
    with pytest.raises(LabelsError) as refused:
        recognised_labels(text.encode(), name)
    assert reason in str(refused.value)
    assert name in str(refused.value)


def test_the_loaded_models_decide_about_numbered_names() -> None:
    data = b'{"a": 0, "b": 1}'
    assert recognised_labels(data, "x.json", {2}) == ("a", "b")
    assert recognised_labels(data, "x.json", {1, 2}) == ("a", "b")
    with pytest.raises(LabelsError, match="no loaded model has that many classes"):
        recognised_labels(data, "x.json", {90})
