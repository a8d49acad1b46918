"""Which category is which class: by name, else by id; what does not match is listed."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.datasets.labels import COCO_80
from qviz.datasets.voc import VOC_20
from qviz.errors import DatasetError
from qviz.features.accuracy.truth import Reconciled, category_ids, reconcile
from qviz.structures import Category, Dataset, DatasetImage

CATEGORIES = (Category(3, "cat"), Category(7, "dog"))

LABELS = [
    (("cat", "dog"), {0: 3, 1: 7}),
    (("dog", "bird", "cat"), {0: 7, 2: 3}),  # a bird is never annotated
    ((" Cat", "DOG "), {0: 3, 1: 7}),
    ((), {0: 3, 1: 7}),  # no names: in the order of the ids
    (("???", "???"), {0: 3, 1: 7}),
]


@pytest.mark.parametrize(("labels", "expected"), LABELS)
def test_classes_are_matched_by_name_then_by_id(labels: tuple[str, ...], expected: dict[int, int]) -> None:
    assert category_ids(labels, (CATEGORIES[1], CATEGORIES[0])) == expected


def test_labels_without_any_match_are_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"None of the model's 2 labels \(horse, \.\.\.\) is a category .*\(cat, dog"
    ):
        category_ids(("horse", "cow"), CATEGORIES)


SPELLED = [
    ("dining_table", "dining table", True),
    ("Dining-Table", "diningtable", True),
    ("tv", "tvmonitor", True),
    ("motorcycle", "Motorbike", True),
    ("dogs", "dog", False),  # plurals are other words
    ("cat", "caterpillar", False),
]


@pytest.mark.parametrize(("label", "category", "same"), SPELLED)
def test_spellings_and_synonyms(label: str, category: str, same: bool) -> None:
    result = category_ids((label, "bird"), (Category(5, category), Category(6, "bird")))
    assert result == ({0: 5, 1: 6} if same else {1: 6})


def test_every_category_of_voc_is_a_class_of_coco() -> None:
    result = category_ids(COCO_80, tuple(Category(i, name) for i, name in enumerate(VOC_20)))
    assert sorted(result.values()) == list(range(20))
    assert result[COCO_80.index("couch")] == VOC_20.index("sofa")


def test_an_exact_name_takes_precedence_over_a_synonym() -> None:
    categories = (Category(1, "sofa"), Category(2, "couch"))
    assert category_ids(("couch", "sofa"), categories) == {0: 2, 1: 1}
    assert category_ids(("couch",), categories) == {0: 2}


def test_ids_are_used_if_the_dataset_has_no_names() -> None:
    categories = (Category(18, "class 17"), Category(3, "class 2"))
    assert category_ids(COCO_80, categories) == {17: 18, 2: 3}
    assert category_ids((), categories) == {17: 18, 2: 3}
    assert category_ids(("class 2", "x"), categories) == {0: 3}  # a name that the model has


def dataset(*truths: int, crowds: int = 0) -> Dataset:
    count = len(truths)
    crowd = np.arange(count) < crowds
    image = DatasetImage(1, "a", b"", np.zeros((count, 4)), np.array(truths), crowd, np.ones(count))
    return Dataset("d", (image,), (*CATEGORIES, Category(9, "axolotl"), Category(11, "newt"), Category(12, "eft")))


def test_unmatched_categories_are_listed_with_their_objects() -> None:
    result = reconcile(("cat", "dog", "bird", "???"), dataset(11, 9, 9, 3, 11, 11, crowds=1))
    assert (result.classes, result.how) == ({0: 3, 1: 7}, "name")
    assert result.unmatched_labels == ("bird",)
    assert result.unmatched_categories == (("axolotl", 2), ("newt", 2), ("eft", 0))
    assert result.sentences() == (
        "2 of the dataset's categories are unknown to the model: axolotl (2 objects) and newt (2 objects)."
        " Their objects count as missed.",
    )


def test_no_remark_if_every_object_has_a_class() -> None:
    assert reconcile(("cat", "dog"), dataset(3, 7)).sentences() == ()


def test_a_match_by_id_is_a_remark() -> None:
    result = reconcile((), dataset(3))
    assert (result.how, result.classes) == ("id", {0: 3, 1: 7, 2: 9, 3: 11, 4: 12})
    assert "matched by their ids" in result.sentences()[0]


def test_a_long_list_is_truncated() -> None:
    rows = tuple((f"c{i}" * 100, 9 - i) for i in range(8))
    (sentence,) = Reconciled({}, "name", (), rows).sentences()
    assert sentence.startswith("8 of the dataset's categories are") and " and 3 more." in sentence
    assert len(sentence) < 600
