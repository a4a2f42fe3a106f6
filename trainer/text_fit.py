"""Fits the scores of texts, which take the place of the counts of n-grams.

A network or a tree sees a text as some dozens of counts, in which words that mean the opposite
share a column. A linear model of many thousands of n-grams is the better reader, and cheap. The
scores of a train row come from a model that has not seen its text, else the other models would
trust them too much; all other rows get those of a model of the whole train split.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .examples import Examples, Split
from .features.fingerprint import fingerprint64
from .features.ngrams import BUCKETS, DIGITS, read_sets
from .sparse_linear import SparseRows, fit_linear, outputs_of
from .text_losses import TextLoss
from .text_scores import BATCH_ROWS, TextScores, tfidf_rows

if TYPE_CHECKING:
    from .predictor import Head

log = logging.getLogger("trainer")
FOLDS = 4
"""Parts of the train rows, each scored by a model of the others."""
STRENGTHS = (0.5, 2.0, 8.0, 32.0)
"""What the losses of all rows weigh against the penalty, from the most penalized model on."""
LEAST_ROWS = 2
"""Train rows with an n-gram below which it is left out: it cannot help to score another row."""
MOST_ENTRIES = 12_000_000
"""Most n-grams of the rows that models are fitted to, times the outputs: about 35 seconds of a
core, by the 4.6 that 1.6 million take. Of a larger table, rows are drawn by the fingerprint of
their texts."""
MOST_UNITS = 32
"""Most classes that are scored: a score is a column, and takes a number a bucket."""
GAIN = 0.01
"""The share by which scores must lower the loss of a constant; without it, texts stay counts."""


def fit_text_scores(
    examples: Examples, train: Split, validation: Split, head: Head
) -> tuple[TextScores | None, Split, Split]:
    """Fits the scores, and puts them in the place of the counts of n-grams.

    Args:
        examples: The folder of examples.
        train: The rows to learn from.
        validation: The rows of the validation split.
        head: The task.

    Returns:
        The model and both splits; None and the splits as they are where the table has no text, or
        the scores of train rows are hardly better than a constant.
    """
    texts = examples.transform.texts
    if not texts or head.units > MOST_UNITS:
        return None, train, validation
    started = time.monotonic()
    sets = examples.sets("train")
    names = tuple(sets.column_names)
    fitted = _fit(sets, train, head)
    record = {
        "columns": [f.columns[0] for f in texts],
        "loss": fitted.loss * head.loss_unit,
        "loss_of_constant": fitted.constant_loss * head.loss_unit,
        "strength": fitted.strength,
        "seconds": round(time.monotonic() - started, 3),
    }
    is_used = fitted.loss < (1.0 - GAIN) * fitted.constant_loss
    log.info(
        "text scores: out-of-fold loss %.5f, of a constant %.5f, %s, %.1f s",
        *(record["loss"], record["loss_of_constant"], "used" if is_used else "left out"),
        record["seconds"],
    )
    if not is_used:
        return None, train, validation
    counts = {o.name for f in texts for o in f.outputs}
    kept = [n for n in examples.transform.numbers if n not in counts]
    scores = tuple(f"text score {unit}" for unit in range(head.units))
    model = TextScores(
        (*kept, *scores), names, fitted.scales, fitted.weights, fitted.intercepts, record
    )
    own = model.numpy(sets)
    own[fitted.places] = fitted.scores
    places = [examples.transform.numbers.index(n) for n in kept]
    splits = [(train, own), (validation, model.numpy(examples.sets("validation")))]
    train, validation = (
        replace(
            split,
            numbers=np.concatenate([split.numbers[:, places], added], axis=1),
            names=model.numbers,
        )
        for split, added in splits
    )
    return model, train, validation


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The model of the whole train split, and the scores of its rows by models of the others.

    Attributes:
        scales: As in `TextScores`.
        weights: The same.
        intercepts: The same.
        places: The rows that were drawn, by their fingerprint, `[M] int64`.
        scores: Their scores, out of fold, `[M, units] float32`.
        strength: The strength that was chosen.
        loss: The mean loss of these scores.
        constant_loss: That of a constant.
    """

    scales: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    strength: float
    loss: float
    constant_loss: float


def _fit(sets: pa.Table, train: Split, head: Head) -> _Fitted:
    """Fits a model a fold and one of all rows, at the strength of the least out-of-fold loss.

    The rows are sorted by content, since a sum of floats depends on their order, and a step of
    L-BFGS on its last bits: the same rows give the same bytes in any order.
    """
    units = head.units
    keys = _fingerprints(sets)
    order = np.lexsort((train.weights, train.labels, keys))
    loss = TextLoss.of(head, train.take(order))
    sizes = [pc.sum(pc.binary_length(column)).as_py() or 0 for column in sets.columns]
    entries = sum(sizes) // DIGITS * units
    drawn = (keys >> np.uint64(32)) / 2.0**32 < MOST_ENTRIES / max(1, entries)
    is_drawn = drawn[order]
    places = order[is_drawn]
    read = _read(sets, drawn, places)
    scales = np.stack([_document_frequency_scales(r, len(places)) for r in read])
    blocks = [tfidf_rows(r, s) for r, s in zip(read, scales, strict=True)]
    loss = loss.take(np.flatnonzero(is_drawn))
    folds = (keys[places] & np.uint64(2**32 - 1)) % np.uint64(FOLDS)
    weights = train.weights[places].astype(np.float64)
    start = np.zeros((sum(len(b.scales) for b in blocks) + 1, units))
    start[-1] = loss.start
    models = [start] * FOLDS
    constant_loss = float(
        np.average(loss(np.tile(loss.start, (len(places), 1)))[0], weights=weights)
    )
    best = (constant_loss, 0.0, np.tile(loss.start, (len(places), 1)))
    for strength in STRENGTHS:
        scores = np.empty((len(places), units))
        for fold in range(FOLDS):
            learned = np.where(folds == fold, 0.0, weights)
            models[fold] = _fit_one(blocks, loss, learned, strength, models[fold])
            inside = folds == fold
            scores[inside] = outputs_of(blocks, models[fold])[inside]
        value = float(np.average(loss(scores)[0], weights=weights))
        if value >= best[0] and best[1]:
            break
        best = min(best, (value, strength, scores), key=lambda b: b[0])
    model = start
    for strength in STRENGTHS[: STRENGTHS.index(best[1]) + 1] if best[1] else ():
        model = _fit_one(blocks, loss, weights, strength, model)
    return _Fitted(
        scales.astype(np.float32),
        model[:-1].reshape(len(blocks), -1, units).astype(np.float32),
        model[-1].astype(np.float32),
        places,
        best[2].astype(np.float32),
        best[1],
        best[0],
        constant_loss,
    )


def _read(
    sets: pa.Table, drawn: np.ndarray, places: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reads the drawn rows of each column of sets, at `places`, as `read_sets` does."""
    rows = sets.filter(pa.array(drawn))  # first, since a column to take from must be below 2 GiB
    rows = rows.take(pa.array(np.searchsorted(np.flatnonzero(drawn), places)))
    parts = [
        [read_sets(column) for column in batch.columns] for batch in rows.to_batches(BATCH_ROWS)
    ]
    columns = [list(zip(*column, strict=True)) for column in zip(*parts, strict=True)]
    return [(np.concatenate(counts), np.concatenate(buckets)) for counts, buckets in columns]


def _fit_one(
    blocks: Sequence[SparseRows],
    loss: TextLoss,
    weights: np.ndarray,
    strength: float,
    start: np.ndarray,
) -> np.ndarray:
    """Fits one model to the rows with a weight, from the model of the strength before."""
    total, n_rows = weights.sum(), np.count_nonzero(weights)
    if not n_rows:
        return start
    penalty = 1.0 / (strength * n_rows)
    return fit_linear(blocks, loss, loss.curvature, weights / total, penalty, start)


def _fingerprints(sets: pa.Table) -> np.ndarray:
    """Returns a number for the texts of each row, `[N] uint64`: equal texts have equal ones."""
    keys = np.zeros(len(sets), np.uint64)
    for column in sets.columns:
        parts = [fingerprint64(chunk) for chunk in column.chunks]
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.concatenate(parts)
    mixed = (keys ^ (keys >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(mixed ^ (mixed >> np.uint64(29)), np.uint64)


def _document_frequency_scales(read: tuple[np.ndarray, np.ndarray], n_rows: int) -> np.ndarray:
    """Returns ln((1 + N) / (1 + rows)) + 1 for each bucket, `[D] float64`, 0 for a rare one."""
    rows = np.bincount(read[1], minlength=BUCKETS)
    scales = np.log((1 + n_rows) / (1 + rows)) + 1.0
    # The exported tables have float32.
    return np.where(rows >= LEAST_ROWS, scales, 0.0).astype(np.float32).astype(np.float64)
