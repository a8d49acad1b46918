"""Label maps, JSON and data.yaml: the labels read from each file, or the sentence that refuses it."""

from __future__ import annotations

import json
import random

import pytest

from qviz.datasets.labels import MAX_BYTES, parse_labels
from qviz.errors import LabelsError

NAMES = ("person", "bicycle")

LABEL_MAPS = [
    ('item { id: 1 name: "person" } item { id: 2 name: "bicycle" }', NAMES),
    ("item {\n  name: 'bicycle'\n  id: 2\n}\n\nitem {\n  name: 'person'\n  id: 1\n}\n", NAMES),
    ('# COCO\n\nitem { # the first\n id: 1\n name: "person" # a person\n}\nitem{id:2,name:"bicycle";}', NAMES),
    ('item { name: "/m/01g317" id: 1 display_name: "person" }\nitem { id: 2 name: "bicycle" }', NAMES),
    ('item: { id: 1 name: "person" }\nitem < id: 2 name: "bicycle" >', NAMES),
    ('item { id: 2 name: "a" }\nitem { id: 4 name: "b" }', ("???", "a", "???", "b")),
    ('item { id: 0 name: "background" }\nitem { id: 1 name: "person" }', ("person",)),
    (
        r"""item { id: 1 name: 'driver\'s "seat"' } item { id: 2 name: "a\\b \303\251\x41" }""",
        ('driver\'s "seat"', r"a\b éA"),
    ),
    ('item { id: 1 name: "hot" " dog" }', ("hot dog",)),
    ('item { id: 1 name: "person" keypoints { id: 7 label: "nose" } ids: [1, 2] future: 1.5e3 }', ("person",)),
    ('item { id: 1 name: "# no comment { }" }', ("# no comment { }",)),
]
JSONS = [
    ('["person", "bicycle"]', NAMES),
    ('{"0": "person", "1": "bicycle"}', NAMES),
    ('{"1": "bicycle", "0": "person"}', NAMES),
    ('{"1": "person", "2": "bicycle"}', ("???", *NAMES)),  # ids from 1: the background is the one left out
    ('{"person": 0, "bicycle": 1}', NAMES),
    ('{"bicycle": 2, "person": 0}', ("person", "???", "bicycle")),
    ('\ufeff\n{"task": "detect", "names": {"0": "person", "1": "bicycle"}}\n', NAMES),
    ('{"id2label": {"0": "person", "1": "bicycle"}, "label2id": {}}', NAMES),
    ('["background", "person", "bicycle"]', ("???", *NAMES)),
    (json.dumps(["two\nlines", "x" * 300]), ("two lines", "x" * 100)),
]
YAMLS = [
    ("path: ../coco8\nnames:\n  0: person\n  1: bicycle\n", NAMES),
    ("names:\n- person\n- bicycle\nnc: 2\n", NAMES),
    ("names:\n  - person  # 0\n\n  # the next\n  - 'bicycle'\nnc: 2\n  - ", NAMES),
    ("nc: 2\nnames: [person, bicycle]", NAMES),
    ("names: ['person', \"bicycle\"] # both", NAMES),
    ("names: [\n  person, # one\n  bicycle,\n]\nnc: 2", NAMES),
    ("names: {0: person, 1: 'bicycle'}", NAMES),
    ("names:\r\n  0: person\r\n  1: bicycle\r\n", NAMES),
    ("names:\n  '0': person\n  \"2\": bicycle", ("person", "???", "bicycle")),
    ("names:  # classes\n  0: driver's seat\n  1: C#\n  2: 'it''s'\n  3: \"a\\u00e9\"", None),
    ("names:\n  0: background\n  1: person", ("background", "person")),  # trained as a class, so it counts
    ("names:\n  0: &anchor person\n  1: bicycle", NAMES),
    ("names:\n  0: hot dog\n  1: 007\n  2: no", ("hot dog", "007", "no")),
]


@pytest.mark.parametrize(("text", "expected"), LABEL_MAPS + JSONS + YAMLS)
def test_labels_of_every_form(text: str, expected: tuple[str, ...] | None) -> None:
    expected = expected or ("driver's seat", "C#", "it's", "aé")
    assert parse_labels(text.encode(), "labels") == expected


REFUSED = [
    ('item { id: 1 name: "a" } item { id: 1 name: "b" }', "'a' and 'b' have the same class id 0"),
    ('item { id: 0 name: "person" }', "item 'person' has the id 0, but ids count from 1"),
    ('item { name: "person" }', "ids count from 1"),
    ('item { id: -3 name: "person" }', "ids count from 1"),
    ('item { id: 99999999 name: "person" }', "has the class id 99999998"),
    ('item { id: one name: "person" }', "line 1: Couldn't parse integer: one"),
    ('item { id: 1 name: "person"', 'line 1: Expected "}"'),
    ("item { id: 1 name: 'person }", "line 1: String missing ending quote"),
    ('item { id: 1\n name: "a"\n } }', "line 3: Expected identifier or number, got }"),
    ("item { id: : }", "line 1: Couldn't parse integer: :"),
    ("item { id", 'line 1: Expected ":"'),
    ("item { id: [1", "line 1: Couldn't parse integer: ["),
    ("item {" + "a {" * 5000, "nested too deeply"),
    ("{}", "has no class names"),
    ("[]", "has no class names"),
    ("[1, 2]", "class names must be a list"),
    ('[{"id": 1, "name": "person"}]', "class names must be a list"),
    ('{"a": 0, "b": true}', "class names must be a list"),
    ('{"a": 0, "b": 0}', "have the same class id 0"),
    ('{"a": -1}', "has the class id -1"),
    ('{"a": 1' + "0" * 3000 + "}", "has the class id 1000"),
    ('{"123456789012": "a"}', "class names must be a list"),
    ('["a",]', "looks like JSON but cannot be parsed"),
    ("[" * 100_000 + "]" * 100_000, "looks like JSON but cannot be parsed"),
    ("names:\n  0: a\n  zero: b", "`names:` has the key 'zero', which is not a class id"),
    ("names: coco.names", "neither a list nor a mapping"),
    ("names:\n", "has no class names"),
    ("names: []", "has no class names"),
    ("names:\n  0: a: b", "line 2: mapping values are not allowed"),
    ("names: &a [*a]", "has a list or a mapping where plain text is expected"),
    ("names: " + "[" * 5000, "exceeded maximum nesting depth"),
    (
        "a: &a [x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20))
        + "names: [*u]",
        "line 21 has a list",
    ),
    ("names:\n  - !!python/object/apply:os.system [x]", "has the tag 'tag:yaml.org,2002:python/object"),
    ("names:\n  - 'person", "line 2: found unexpected end of stream"),
    ("names: [a, b", "line 2: did not find expected"),
    ("names: [a, [b]]", "line 1 has a list or a mapping where plain text is expected"),
    ("names: {0: a, b}", "has the key 'b', which is not a class id"),
    ("names: {a: 0}", "has the key 'a', which is not a class id"),
    ("names: {0: a, 0: b}", "have the same class id 0"),
    ('names:\n  - "a\\q"', "line 2: found unknown escape character"),
    ("x" * (MAX_BYTES + 1), "the limit for a label file is 4 MB"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_malformed_labels_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(LabelsError) as caught:
        parse_labels(text.encode(), "labels.txt")
    assert str(caught.value).startswith("labels.txt")
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 400


LINES = [
    ("item one\nitem two", ("item one", "item two")),
    ("[unused]\nperson", ("[unused]", "person")),
    ("the names: of things\nb", ("the names: of things", "b")),
]


@pytest.mark.parametrize(("text", "expected"), LINES)
def test_text_resembling_another_form_is_read_as_lines(text: str, expected: tuple[str, ...]) -> None:
    assert parse_labels(text.encode(), "labels.txt") == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "#" * 200_000,
        "item {" + "#" * 200_000,
        "item { name: '" + "\\" * 200_001,
        "names: [" + "a " * 100_000,
        "names:\n  - '" + "'" * 200_000,
    ],
)
def test_hostile_text_is_handled_within_the_time_limit(text: str) -> None:
    try:
        parse_labels(text.encode(), "labels.txt")
    except LabelsError:
        return


def test_a_damaged_file_is_labels_or_a_labels_error() -> None:
    rng, refused = random.Random(0), 0
    for text, _ in (LABEL_MAPS + JSONS + YAMLS) * 40:
        damaged = bytearray(text.encode())
        damaged[rng.randrange(len(damaged))] = rng.choice(b"{}[]:'\"#\\\n,-0a\xff")
        try:
            assert all(isinstance(name, str) for name in parse_labels(bytes(damaged), "x"))
        except LabelsError:
            refused += 1
    assert refused > 100
