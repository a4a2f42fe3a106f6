"""The opponent: how it is fitted once for an evaluation, and how it answers test shards.

It knows nothing of the model. The same examples give the same opponent, so the answers that an
earlier run has recorded are taken, and then nothing is fitted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from quatrain.components.artifacts import canonical_json, sha256_of
from quatrain.components.evaluate.answer_cache import AnswerCache
from quatrain.components.evaluate.opponent import boosting, rows
from quatrain.components.evaluate.opponent.boosting import Trees, fit_trees, lightgbm_error
from quatrain.components.evaluate.opponent.rows import (
    MOST_VALIDATION_ROWS,
    Encoder,
    Rows,
    columns_of,
    read_shards,
)
from quatrain.components.preprocess import raw_sample
from quatrain.components.preprocess.raw_sample import PlainColumns, share_of
from quatrain.components.wording import first_line
from quatrain.trainer.boosted import start
from quatrain.trainer.features.transform import Transform

if TYPE_CHECKING:
    import lightgbm

NO_SAMPLE = "the examples hold no sample of raw train rows; preprocess the rows again"
NO_COLUMN = "no feature has a raw column that boosted trees take"


@dataclass(frozen=True)
class OpponentPlan:
    """What the opponent is made of.

    Attributes:
        sample: The path or uri and the sha256 of each shard of the sample of raw train rows.
        validation: The same of the validation shards.
        test: The sha256 of each test shard.
        why: Why there is to be no opponent; empty otherwise.
        class_weights: Those that the model was trained with, `[C]`; empty without any.
        validation_rows: The rows of the validation shards.
    """

    sample: tuple[tuple[str, str], ...] = ()
    validation: tuple[tuple[str, str], ...] = ()
    test: tuple[str, ...] = ()
    why: str = ""
    class_weights: tuple[float, ...] = ()
    validation_rows: int = 0

    def digest(self, transform: Transform) -> str:
        """Returns a digest of all that decides the answers, apart from what is installed."""
        parts = {
            "transform": transform.to_json(),
            "shards": [sha256 for _, sha256 in (*self.sample, *self.validation)],
            "class_weights": self.class_weights,
            "code": [sha256_of(Path(str(m.__file__))) for m in (boosting, rows, raw_sample, start)],
        }
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


@dataclass(frozen=True)
class FittedTrees:
    """Trees, and what turns columns of the examples into theirs."""

    encoder: Encoder
    trees: Trees

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        return self.trees.load()

    def answer(self, batch: pa.Table) -> np.ndarray:
        """Returns `[N, C] float32` probabilities or `[N] float32` predictions of examples."""
        return self.trees.answer(self._booster, self.encoder.matrix(batch))


@dataclass(frozen=True)
class Opponent:
    """A fitted opponent.

    Attributes:
        why: Why there is none; empty if there is one.
        digest: What stands for it in the records of answers.
        fitted: The trees; None if every answer is recorded.
    """

    why: str = ""
    digest: str = ""
    fitted: FittedTrees | None = None


def fit_opponent(plan: OpponentPlan, transform: Transform, cache: AnswerCache) -> Opponent:
    """Fits the opponent, unless its answers to all test shards are recorded.

    Raises:
        ArtifactError: A shard is not the file that was written, or cannot be read.
    """
    plain = PlainColumns.of(transform)
    if why := plan.why or _missing(plan, plain):
        return Opponent(why)
    digest = plan.digest(transform)
    if all(cache.read(digest, sha256) is not None for sha256 in plan.test):
        return Opponent(digest=digest)
    columns = columns_of(plain, weighted=transform.weight is not None)
    train = read_shards(plan.sample, columns)
    share = share_of(plan.validation_rows, plain.most_rows(MOST_VALIDATION_ROWS))
    validation = read_shards(plan.validation, columns, share)
    encoder = Encoder.fit(plain, train)
    train_rows, validation_rows = (
        encoder.rows(table).with_class_weights(plan.class_weights) for table in (train, validation)
    )
    if why := _unusable(train_rows, "sampled train") or _unusable(validation_rows, "validation"):
        return Opponent(why)
    n_classes = len(transform.label.classes)
    try:
        trees = fit_trees(train_rows, validation_rows, transform.task, n_classes, encoder.n_numbers)
    except (ImportError, OSError) as error:
        return Opponent(f"LightGBM cannot be imported ({first_line(error)})")
    except lightgbm_error() as error:
        return Opponent(f"LightGBM refuses the rows ({first_line(error)})")
    return Opponent("", digest, FittedTrees(encoder, trees))


def _missing(plan: OpponentPlan, plain: PlainColumns) -> str:
    if not plan.sample:
        return NO_SAMPLE
    return "" if len(plain) else NO_COLUMN


def _unusable(split: Rows, name: str) -> str:
    """Returns why rows cannot be learned from; empty if they can."""
    if len(split.labels):
        return ""
    return f"there is no {name} row{'' if split.weights is None else ' with a weight above 0'}"


class ShardAnswers:
    """The opponent's answers to one test shard: those that are recorded, or its own.

    Attributes:
        why: Why there are none.
        run: The run that has recorded them; empty if the opponent answers.
    """

    def __init__(self, opponent: Opponent, shard_sha256: str, cache: AnswerCache) -> None:
        self.why, self.run, self._fitted = opponent.why, "", opponent.fitted
        self._values, self._row = np.zeros(0, np.float32), 0
        self._recording = cache.recording(opponent.digest, shard_sha256)
        if self.why:
            return
        recorded = cache.read(opponent.digest, shard_sha256)
        if recorded is not None:
            self._values, self.run, self._fitted = recorded.values, recorded.run, None
        elif self._fitted is None:
            self.why = "its recorded answers were removed meanwhile; evaluate again"

    def answer(self, batch: pa.Table) -> np.ndarray | None:
        """Returns the answers to the next batch of the shard, or None if there are none."""
        if self.why:
            return None
        if self._fitted is None:
            self._row += batch.num_rows
            return self._values[self._row - batch.num_rows : self._row]
        answers = self._fitted.answer(batch)
        self._recording.add(answers)
        return answers

    def end(self) -> None:
        """Records the answers, if the opponent has given them."""
        if self._fitted is not None:
            self._recording.write()
