"""What an exported model says: its metadata, and its answers to engineered rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from quatrain.trainer.examples import read_examples
from quatrain.trainer.export import argument_names


def metadata(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model" / "metadata.json").read_text())


def answers(folder: Path, examples: Path) -> np.ndarray:
    """Returns what the exported model says of the engineered validation rows."""
    rows = read_examples(str(examples)).first_rows("validation", 10**6)[1]
    arguments = argument_names(rows)
    signature = tf.saved_model.load(str(folder / "model")).signatures["engineered"]
    answer = signature(**{arguments[n]: tf.constant(v) for n, v in rows.items()})
    return answer.get("probabilities", answer.get("prediction")).numpy()
