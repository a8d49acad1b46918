"""The training loss: the difference between the quantized network and its teacher, on images without labels.

Every output is read as [batch, rows, columns]; a row is an anchor or a cell. The teacher's values on real images decide
which columns are scores:

score columns   probabilities that are below RARE in at least OFTEN of the rows, because most rows show no object; or
                logits whose sigmoid has this property. Their loss is the divergence of two Bernoulli distributions,
                KL(teacher || student), summed over rows and classes. A spurious object costs as much as a lost one; a
                row that both networks call background costs nothing.
value columns   all others: box encodings, offsets, distances. Their loss is the Huber loss in units of the column's
                standard deviation. Each row is weighted with the square of the teacher's best score in it, so that
                only boxes of objects count.

Outputs with the same number of rows (boxes and classes of one head or level) share these weights. Inner tensors
(`taps`) are compared as well, each relative to the power of the teacher's tensor. Each layer then converges in few
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

OFTEN, RARE = 0.9, 0.1
"""A score column is below the probability RARE in at least the share OFTEN of its rows."""
BOX = 4
"""An output with this number of columns is read as boxes, whatever its values are."""
SMALL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The columns of one output.

    Attributes:
        rows: Number of rows.
        scores: (columns,) bool, whether each column is a score column.
        logits: Whether the scores are logits; otherwise they are probabilities.
        deviation: (columns,) standard deviation of the teacher's values.
        channels_first: Whether the output is [1, columns, rows], as in YOLOv8.
        objectness: Index of the column with the probability of any object (YOLOv5, YOLOX), or None. The class scores of
            a row with a small objectness have no meaning.
    """

    rows: int
    scores: np.ndarray
    logits: bool
    deviation: np.ndarray
    channels_first: bool
    objectness: int | None = None


def columns_of(values: np.ndarray, objectness: int | None = None) -> Columns:
    """Describe the columns of one output.

    Args:
        values: (images, ...) the teacher's values of this output.
        objectness: Index of the objectness column, or None.
    """
    first = values.ndim == 3 and values.shape[1] < values.shape[2] / 4
    table = np.moveaxis(values, 1, -1) if first else values
    table = table.reshape(len(values), -1, values.shape[1] if first else values.shape[-1])
    flat = table.reshape(-1, table.shape[-1]).astype(np.float64)
    inside = (flat.min(axis=0) >= -SMALL) & (flat.max(axis=0) <= 1 + SMALL)
    probable = bool(inside.any())  # boxes may share the output with them, outside of [0, 1]
    high = np.quantile(flat, OFTEN, axis=0)
    scores = inside & (high < RARE) if probable else 1 / (1 + np.exp(-high)) < RARE
    if table.shape[-1] == BOX:
        scores = np.zeros(BOX, bool)
    deviation = np.maximum(flat.std(axis=0), 1e-3).astype(np.float32)
    used = objectness if objectness is not None and objectness < len(scores) and scores[objectness] else None
    return Columns(table.shape[1], scores, not probable, deviation, first, used)


def head_loss(tf: Any, kinds: Sequence[Columns], teacher: Sequence[Any], student: Sequence[Any]) -> Any:
    """The loss of the outputs as a scalar. `teacher` and `student` are lists of outputs, each [batch, ...]."""
    tables = [(_table(tf, kind, t), _table(tf, kind, s)) for kind, t, s in zip(kinds, teacher, student, strict=True)]
    best = _best(tf, kinds, [t for t, _ in tables])
    total = tf.constant(0.0)
    for kind, (t, s) in zip(kinds, tables, strict=True):
        confidence = best.get(kind.rows)
        weight = tf.ones(tf.shape(t)[:2]) if confidence is None else tf.square(confidence)
        if kind.scores.any():
            objects = tf.reduce_sum(weight) + 1.0
            total += tf.reduce_sum(_divergence(tf, kind, _scores(tf, kind, t), _scores(tf, kind, s))) / objects
        if not kind.scores.all():
            total += _value_loss(tf, kind, weight, t, s)
    return total


def tap_loss(tf: Any, teacher: Sequence[Any], student: Sequence[Any]) -> Any:
    """The power of the error divided by the power of the teacher's tensor, averaged over the tensors; a scalar."""
    shares = [
        tf.reduce_mean(tf.square(t - s)) / (tf.reduce_mean(tf.square(t)) + SMALL)
        for t, s in zip(teacher, student, strict=True)
    ]
    return tf.add_n(shares) / max(len(shares), 1) if shares else tf.constant(0.0)


def _table(tf: Any, kind: Columns, values: Any) -> Any:
    """The values of one output as [batch, rows, columns]."""
    if kind.channels_first:
        return tf.transpose(values, [0, 2, 1])
    return tf.reshape(values, [tf.shape(values)[0], kind.rows, len(kind.scores)])


def _scores(tf: Any, kind: Columns, table: Any) -> Any:
    return tf.gather(table, np.flatnonzero(kind.scores), axis=2)


def _best(tf: Any, kinds: Sequence[Columns], tables: Sequence[Any]) -> dict[int, Any]:
    """Number of rows -> the teacher's best score per row, [batch, rows]."""
    scores_by_rows: dict[int, Any] = {}
    for kind, table in zip(kinds, tables, strict=True):
        if kind.scores.any():
            scores = _scores(tf, kind, table)
            if kind.objectness is not None:
                scores = table[:, :, kind.objectness : kind.objectness + 1]
            best = tf.reduce_max(tf.sigmoid(scores) if kind.logits else scores, axis=2)
            earlier = scores_by_rows.get(kind.rows)
            scores_by_rows[kind.rows] = best if earlier is None else tf.maximum(earlier, best)
    return scores_by_rows


def _divergence(tf: Any, kind: Columns, teacher: Any, student: Any) -> Any:
    """The KL divergence of Bernoulli distributions for each element."""
    if kind.logits:
        cross = tf.nn.sigmoid_cross_entropy_with_logits
        likely = tf.sigmoid(teacher)
        return cross(labels=likely, logits=student) - cross(labels=likely, logits=teacher)
    p, q = (tf.clip_by_value(values, 1e-6, 1 - 1e-6) for values in (teacher, student))
    return p * tf.math.log(p / q) + (1 - p) * tf.math.log((1 - p) / (1 - q))


def _value_loss(tf: Any, kind: Columns, weight: Any, teacher: Any, student: Any) -> Any:
    others = np.flatnonzero(~kind.scores)
    error = tf.abs(tf.gather(student - teacher, others, axis=2)) / kind.deviation[others]
    huber = tf.where(error < 1.0, 0.5 * tf.square(error), error - 0.5)
    return tf.reduce_sum(weight * tf.reduce_mean(huber, axis=2)) / (tf.reduce_sum(weight) + SMALL)
