"""Loads a SavedModel from a folder of any name."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf

_GLOB = re.compile(r"[*?\[\\]")


def load(folder: Path | str) -> Any:
    """Returns the SavedModel of a local folder.

    TensorFlow looks for the variables by a glob of their path, so in `runs[1]` it finds none. It
    gets the path of a link to such a folder.
    """
    if not _GLOB.search(str(folder)):
        return tf.saved_model.load(str(folder))
    with TemporaryDirectory(prefix="quatrain-model-") as place:
        link = Path(place, "model")
        link.symlink_to(Path(folder).absolute())
        return tf.saved_model.load(str(link))
