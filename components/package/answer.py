"""Loads an exported model in a new process and predicts one raw row.

    python answer.py MODEL_DIR ROW_FILE

The script runs in the package's environment, and imports TensorFlow but nothing of this repository.
"""

import gc
import json
import math
import sys
from pathlib import Path
from typing import Any


def answer(folder: str, row: dict[str, Any]) -> dict[str, Any]:
    """Returns the outputs of `serving_default` for one raw row, by name.

    TensorFlow gives them in an order of its own in each process.

    Raises:
        ValueError: An output has not one row or is not finite, or probabilities do not sum to one.
    """
    gc.disable()  # the process is too short for garbage to matter
    import tensorflow as tf

    metadata = json.loads((Path(folder) / "metadata.json").read_text(encoding="utf-8"))
    names = {i.get("argument", i["name"]): i["name"] for i in metadata["inputs"]}
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    tensors = {name: tf.constant([row[names[name]]], spec.dtype) for name, spec in specs.items()}
    outputs = {name: value.numpy() for name, value in signature(**tensors).items()}
    for name, value in outputs.items():
        if value.shape[:1] != (1,):
            raise ValueError(f"{name} has the shape {list(value.shape)} for one raw row")
    scores = outputs["prediction" if "prediction" in outputs else "probabilities"]
    listed = [float(score) for score in scores.reshape(-1)]
    if not all(map(math.isfinite, listed)):
        raise ValueError(f"serving_default answers {listed} to a raw row")
    if "probabilities" in outputs and not math.isclose(sum(listed), 1.0, abs_tol=1e-4):
        raise ValueError(f"probabilities {listed} sum to {sum(listed)}")
    return {name: _plain(value.tolist()[0]) for name, value in sorted(outputs.items())}


def _plain(value: Any) -> Any:
    """Returns an output with its bytes as text, as JSON needs it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    print(
        json.dumps(answer(sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))
    )
