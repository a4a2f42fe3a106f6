"""Golden rows: raw rows with their answers, kept beside a model and asked again where it is loaded.

Another TensorFlow, another processor or a transform that was broken on the way would answer
otherwise; then the model is not served.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .settings import TrainerError

NAME = "golden.json"
ROWS = 32
TOLERANCE = 1e-4
"""Far above what other kernels round differently (1e-6), far below what a wrong input changes."""


def write(arguments: Mapping[str, np.ndarray], answers: np.ndarray, output: str) -> str:
    """Returns the text of golden.json.

    Args:
        arguments: `[N]` float64 or bytes by the name of the signature's argument.
        answers: What the signature answered, `[N]` or `[N, C] float32`.
        output: The name of that output.
    """
    document = {
        "version": 1,
        "inputs": {
            name: [_plain(v) for v in column.tolist()] for name, column in arguments.items()
        },
        "output": output,
        "answers": answers.tolist(),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def replay(text: str, signature: Any) -> None:
    """Asks the golden rows again.

    Args:
        text: golden.json.
        signature: `serving_default` of the loaded model.

    Raises:
        TrainerError: An answer is another one.
    """
    import tensorflow as tf

    golden = json.loads(text)
    specs = signature.structured_input_signature[1]
    fed = {
        name: tf.constant([_given(v) for v in column], specs[name].dtype)
        for name, column in golden["inputs"].items()
    }
    expected = np.asarray(golden["answers"], np.float64)
    found = signature(**fed)[golden["output"]].numpy().astype(np.float64)
    differences = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    if (differences <= TOLERANCE).all():
        return
    row = int(np.argmax(differences.reshape(len(differences), -1).max(axis=1)))
    raise TrainerError(
        f"the model answers {found[row].tolist()} to golden row {row}, where it answered "
        f"{golden['answers'][row]} when it was exported; TensorFlow here is {tf.__version__}, "
        f"compare metadata.json, and export the model again"
    )


def _plain(value: Any) -> Any:
    """JSON has neither bytes nor NaN: a missing number is null."""
    if isinstance(value, bytes):
        return value.decode()
    return None if isinstance(value, float) and math.isnan(value) else value


def _given(value: Any) -> Any:
    return math.nan if value is None else value
