"""Golden rows: raw rows and their answers, stored beside a model and replayed where it is loaded.

A server whose answers differ from them, because of another TensorFlow, another processor or a
damaged transform, refuses to serve the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .settings import TrainerError

NAME = "golden.json"
ROWS = 32
TOLERANCE = 1e-4
"""Largest difference of an answer, relative above 1: rounding in other kernels makes up to 1e-6."""

Answer = Callable[[Mapping[str, list[Any]], str], np.ndarray]
"""Returns an output of a signature for numbers and texts, by argument: NaN where missing."""


def write(arguments: Mapping[str, np.ndarray], answers: np.ndarray, output: str) -> str:
    """Returns the text of golden.json.

    Args:
        arguments: `[N]` float64 or bytes by argument of the signature.
        answers: The signature's answers, `[N]` or `[N, C] float32`.
        output: Name of the output that holds the answers.
    """
    document = {
        "version": 1,
        "inputs": {
            name: [_to_json(v) for v in column.tolist()] for name, column in arguments.items()
        },
        "output": output,
        "answers": answers.tolist(),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def replay(text: str, answer: Answer, tensorflow: str) -> None:
    """Compares the answers of a loaded model with the golden ones.

    Args:
        text: The text of golden.json.
        answer: Calls `serving_default` of the loaded model.
        tensorflow: The version of TensorFlow that runs it.

    Raises:
        TrainerError: An answer differs by more than `TOLERANCE`.
    """
    golden = json.loads(text)
    arguments = {name: [_from_json(v) for v in column] for name, column in golden["inputs"].items()}
    expected = np.asarray(golden["answers"], np.float64)
    answers = answer(arguments, golden["output"]).astype(np.float64)
    row = worst_row(answers, expected, TOLERANCE)
    if row is None:
        return
    raise TrainerError(
        f"the model answers {answers[row].tolist()} to golden row {row}, where it answered "
        f"{golden['answers'][row]} when it was exported; TensorFlow here is {tensorflow}, "
        f"compare metadata.json, and export the model again"
    )


def worst_row(answers: np.ndarray, expected: np.ndarray, tolerance: float) -> int | None:
    """Returns the row whose answer differs most, or None if all are within the tolerance.

    Args:
        answers: `[N]` or `[N, C]`; an answer that is not a number differs.
        expected: The same shape.
        tolerance: The largest difference, relative to an expected answer above 1.
    """
    differences = np.abs(answers - expected) / np.maximum(1.0, np.abs(expected))
    if (differences <= tolerance).all():
        return None
    return int(np.argmax(differences.reshape(len(differences), -1).max(axis=1)))


def _to_json(value: Any) -> Any:
    """Returns bytes as text and NaN as null, since JSON has neither."""
    if isinstance(value, bytes):
        return value.decode()
    return None if isinstance(value, float) and math.isnan(value) else value


def _from_json(value: Any) -> Any:
    return math.nan if value is None else value
