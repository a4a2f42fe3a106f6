"""The answers of a model in the terminal: of one row, and of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quatrain.terminal.json_text import json_text
from quatrain.terminal.printouts import align

_PREFIX, _CLASS = "probability_", "predicted_class"
"""The names of the columns of a classification, as `prediction_schema` has them."""


def answer_lines(path: Path, n_copied: int, as_json: bool) -> Iterator[str]:
    """Yields the predictions of a Parquet file as lines.

    The classes of one row come with their probabilities, the likeliest first. Several rows are a
    table: the copied columns, the class and its probability, or the number. A number has the digits
    that it has in a CSV file of predictions.

    Args:
        path: The file, with the copied columns and then those of `prediction_schema`.
        n_copied: The number of copied columns.
        as_json: Whether to yield a list of objects with all columns instead.
    """
    import pyarrow.parquet as pq

    rows = [{k: _short(v) for k, v in row.items()} for row in pq.read_table(path).to_pylist()]
    if as_json:
        yield json_text(rows)
        return
    answers = [dict(list(row.items())[n_copied:]) for row in rows]
    if len(rows) == 1 and not n_copied:
        yield from _ranked(answers[0])
    elif rows:
        copied = list(rows[0])[:n_copied]
        cells = [["" if row[name] is None else row[name] for name in copied] for row in rows]
        shown = list(map(_in_short, answers))
        body = (own + list(answer.values()) for own, answer in zip(cells, shown, strict=True))
        yield from align([[*copied, *shown[0]], *body])


def _ranked(answer: Mapping[str, Any]) -> list[str]:
    """Returns the classes with their probabilities, the likeliest first, or the number."""
    if _CLASS not in answer:
        return [str(answer["prediction"])]
    classes = {k.removeprefix(_PREFIX): v for k, v in answer.items() if k != _CLASS}
    ranked = sorted(classes.items(), key=lambda item: -item[1])
    return align([(name, str(value)) for name, value in ranked])


def _in_short(answer: Mapping[str, Any]) -> dict[str, str]:
    """Returns the class and its probability, or the number, as texts by their names."""
    if _CLASS not in answer:
        return {"prediction": str(answer["prediction"])}
    likeliest = answer[_CLASS]
    return {_CLASS: likeliest, "probability": str(answer[_PREFIX + likeliest])}


def _short(value: Any) -> Any:
    """Returns a float32 with as few digits as tell it from its neighbours."""
    import numpy as np

    return float(str(np.float32(value))) if isinstance(value, float) else value
