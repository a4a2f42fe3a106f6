"""The answers of models to test shards, for later runs: `<root>/.cache/answers/<key>`.

Each run records its own model's answers. While that model is the champion, a run on the same test
rows takes them and need not load a second model. A key has the digests of the model's metadata,
which lists those of its files, and of the shard, the code that scores, and what it runs with: the
answers are the ones that the model would give here.

A record is a line of JSON and the array's bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quatrain.components import storage
from quatrain.components.artifacts import CACHE, canonical_json, sha256_of
from quatrain.components.folder import MISSHAPEN
from quatrain.components.installation import describe_installation
from quatrain.components.serve import saved_model, served_model
from quatrain.components.wording import first_line
from quatrain.trainer.features import base

VERSION = 1
FOLDER = f"{CACHE}/answers"
MAX_BYTES = 64 << 20
"""What the records of a root may take in all."""
MAX_RECORD_BYTES = 8 << 20
"""The answers to a shard that take more are not recorded: 2 million rows of a regression."""
_CODE = (saved_model, served_model, base)
_SETTINGS = ("TF_", "XLA_")
"""The variables that change how TensorFlow computes."""


@dataclass(frozen=True)
class Answers:
    """Recorded answers.

    Attributes:
        run: The run that scored the shard.
        values: `[N, C] float32` probabilities, or `[N] float32` predictions.
    """

    run: str
    values: np.ndarray


@dataclass(frozen=True)
class AnswerCache:
    """The records below a root.

    Attributes:
        root: The folder of all runs, local or gs://; if empty, nothing is read or recorded.
        run: The name of this run.
        readable: Whether answers of earlier runs may be taken.
    """

    root: str = ""
    run: str = ""
    readable: bool = True

    def read(self, model_sha256: str, shard_sha256: str) -> Answers | None:
        """Returns the answers of a model to a shard, or None if it must be asked.

        Args:
            model_sha256: The digest of its metadata.json.
            shard_sha256: The digest of the shard.
        """
        if not (self.root and self.readable):
            return None
        key = _key(model_sha256, shard_sha256)
        try:
            head, _, data = storage.read_file(self._uri(key)).partition(b"\n")
            record = json.loads(head)
            if record["key"] != key or record["sha256"] != _digest(record, data):
                raise ValueError("its digest is another one")
            values = np.frombuffer(data, np.float32).reshape(record["shape"])
            return Answers(str(record["run"]), values)
        except FileNotFoundError:
            return None
        except (OSError, *MISSHAPEN) as error:
            print(
                f"evaluate: {self._uri(key)} is not taken ({first_line(error)}); the model answers "
                f"again"
            )
            return None

    def recording(self, model_sha256: str, shard_sha256: str) -> Recording:
        """Returns the place for a model's answers to a shard."""
        return Recording(self, model_sha256, shard_sha256)

    def write(self, model_sha256: str, shard_sha256: str, parts: Sequence[np.ndarray]) -> None:
        """Records the answers to the batches of a shard.

        A root that cannot be written to stops no run.
        """
        if not self.root:
            return
        key = _key(model_sha256, shard_sha256)
        values = np.concatenate(parts).astype(np.float32, copy=False)
        data = values.tobytes()
        record = {"version": VERSION, "key": key, "run": self.run, "shape": list(values.shape)}
        record["sha256"] = _digest(record, data)
        try:
            storage.write_file(self._uri(key), canonical_json(record).encode() + b"\n" + data)
        except OSError as error:
            print(f"evaluate: the answers are not recorded: {first_line(error)}")

    def trim(self) -> None:
        """Removes the records that were written first, until the rest takes `MAX_BYTES`."""
        with suppress(OSError):  # a root that cannot be written to stops no run
            if self.root:
                storage.remove_oldest(f"{self.root.rstrip('/')}/{FOLDER}", MAX_BYTES)

    def _uri(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{FOLDER}/{key}"


class Recording:
    """Answers to a shard as they come, until they are too many to be recorded."""

    def __init__(self, cache: AnswerCache, model_sha256: str, shard_sha256: str) -> None:
        self._cache, self._of = cache, (model_sha256, shard_sha256)
        self._parts: list[np.ndarray] = []
        self._free_bytes = MAX_RECORD_BYTES if cache.root else -1

    def add(self, answers: np.ndarray) -> None:
        """Adds the answers to a batch."""
        self._free_bytes -= answers.nbytes
        if self._free_bytes < 0:
            self._parts.clear()
        else:
            self._parts.append(answers)

    def write(self) -> None:
        """Records the answers to all batches, unless they were too many."""
        if self._parts and self._free_bytes >= 0:
            self._cache.write(*self._of, self._parts)


def _key(model_sha256: str, shard_sha256: str) -> str:
    parts = {
        "version": VERSION,
        "model": model_sha256,
        "shard": shard_sha256,
        "code": [sha256_of(Path(str(module.__file__))) for module in _CODE],
        "settings": {k: v for k, v in os.environ.items() if k.startswith(_SETTINGS)},
        **describe_installation(),
    }
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _digest(record: dict[str, Any], data: bytes) -> str:
    """Returns the digest of a record without its own, and of its array."""
    body = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(canonical_json(body).encode() + data).hexdigest()
