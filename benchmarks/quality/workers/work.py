"""What the workers share: they read a split, measure themselves and write their predictions.

It imports only what every environment has: numpy, pandas and pyarrow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from benchmarks.measuring import cpu_seconds, peak_mb

LABEL = "label_"
MARK = "cell: "
"""Begins the line of JSON that a worker prints."""
T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """One split of a table, as data frames.

    Attributes:
        task: binary, multiclass or regression.
        classes: The classes of the train rows, in the order of the probabilities.
        kinds: number, category or text, by column.
        train: Features and target, a class's index or a number.
        validation: The same of the rows that decide when to stop.
        test: The features.
    """

    task: str
    classes: list[str]
    kinds: dict[str, str]
    train: tuple[pd.DataFrame, np.ndarray]
    validation: tuple[pd.DataFrame, np.ndarray]
    test: pd.DataFrame

    @property
    def is_class(self) -> bool:
        """Whether classes are predicted."""
        return self.task != "regression"

    def of(self, kind: str) -> list[str]:
        """Returns the columns of a kind."""
        return [c for c in self.test.columns if self.kinds.get(c, "number") == kind]

    def without(self, kind: str) -> Split:
        """Returns the split without the columns of a kind.

        If no column is left, there is one of zeros: no library takes a table without columns, and
        from zeros it learns the best constant.
        """
        names = self.of(kind)

        def drop(x: pd.DataFrame) -> pd.DataFrame:
            rest = x.drop(columns=names)
            return rest if len(rest.columns) else rest.assign(nothing=0.0)

        train, validation = ((drop(x), y) for x, y in (self.train, self.validation))
        return Split(self.task, self.classes, self.kinds, train, validation, drop(self.test))

    def with_categories(self, most: int = 0) -> Split:
        """Returns the split with categories in the dtype of pandas, with the train rows' levels.

        Args:
            most: The most levels of a column: the most frequent; 0: all.
        """
        levels = {c: self.train[0][c].value_counts().index for c in self.of("category")}
        types = {
            c: pd.CategoricalDtype(sorted(found[:most] if most else found))
            for c, found in levels.items()
        }
        train, validation = ((x.astype(types), y) for x, y in (self.train, self.validation))
        return Split(
            self.task, self.classes, self.kinds, train, validation, self.test.astype(types)
        )

    def with_texts(self) -> Split:
        """Returns the split with '' for a missing category or text."""
        fill = dict.fromkeys([*self.of("category"), *self.of("text")], "")
        train, validation = ((x.fillna(fill), y) for x, y in (self.train, self.validation))
        test = self.test.fillna(fill)
        return Split(self.task, self.classes, self.kinds, train, validation, test)


def read_split(folder: str) -> Split:
    """Reads the split in a folder."""
    columns = json.loads(Path(folder, "columns.json").read_text())
    classes = columns["classes"]
    frames = {
        n: pd.read_parquet(Path(folder, f"{n}.parquet")) for n in ("train", "validation", "test")
    }
    parts = {n: _target(frames[n], classes) for n in ("train", "validation")}
    kinds = columns["kinds"]
    return Split(
        columns["task"], classes, kinds, parts["train"], parts["validation"], frames["test"]
    )


def _target(frame: pd.DataFrame, classes: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns features and target, without rows of a class that the train rows lack."""
    labels = frame.pop(LABEL)
    if not classes:
        return frame, labels.to_numpy(dtype=np.float64)
    codes = np.array(pd.Categorical(labels, categories=classes).codes)
    return frame[codes >= 0].reset_index(drop=True), codes[codes >= 0].astype(np.int64)


def run(
    train: Callable[[], Any],
    answer: Callable[[Any], np.ndarray],
    out: str,
    packages: Sequence[str] = (),
    load: Callable[[Any], Any] | None = None,
    **notes: Any,
) -> None:
    """Trains, loads and answers twice, each measured, writes the predictions and prints the cost.

    Args:
        train: Returns the model, or with `load` what it is loaded from.
        answer: Predicts the test rows, which are in memory as the library takes them: `[N, C]`
            probabilities, or `[N]` numbers.
        out: Where the predictions go, as .npy.
        packages: The distributions whose versions are recorded.
        load: Returns the model, ready to answer, from where training left it on disk; None: the
            model in memory answers, and loading has no cost in the record.
        notes: What else is recorded.
    """
    cost: dict[str, float] = {}
    model, cost["train"] = _timed(train, 2)
    if load:
        trained = model
        model, cost["load"] = _timed(lambda: load(trained), 3)
    predictions, cost["answer"] = _timed(lambda: answer(model), 3)
    _, cost["again"] = _timed(lambda: answer(model), 3)
    np.save(out, np.asarray(predictions, dtype=np.float64))
    versions = {name: metadata.version(name) for name in packages}
    line = {"cpu_s": cost, "peak_mb": round(peak_mb()), "versions": versions, **notes}
    print("\n" + MARK + json.dumps(line), flush=True)


def _timed(work: Callable[[], T], digits: int) -> tuple[T, float]:
    """Returns a result and the CPU-seconds that it took, rounded."""
    before = cpu_seconds()
    result = work()
    return result, round(cpu_seconds() - before, digits)


def arguments() -> tuple[str, str, str, float]:
    """Returns the folder, the system, where predictions go, and a limit of seconds, 0 for none."""
    folder, system, out, *limit = sys.argv[1:]
    return folder, system, out, float(limit[0]) if limit else 0.0
