"""The record of a proof, from which later runs take it: `<root>/.cache/proofs/<key>.json`.

The key has everything that the proof depends on. A run builds its package in any case and names it
by its digest, so no code comes from a record: whoever may write to the root can let a package go
unproved, and no more than that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quatrain.components import storage
from quatrain.components.artifacts import CACHE, canonical_json, json_bytes, sha256_of
from quatrain.components.folder import MISSHAPEN, read_manifest
from quatrain.components.installation import describe_installation
from quatrain.components.wording import first_line
from quatrain.trainer.features.transform import Transform

VERSION = 1
FOLDER = f"{CACHE}/proofs"
MAX_BYTES = 4 << 20
"""What the records of a root may take in all; one has 2 kB, and 100 bytes for each class."""


@dataclass(frozen=True)
class Proof:
    """A proof that a package has passed.

    Attributes:
        run: The run that did it.
        created: When that run was created.
        checks: The records of its checks.
    """

    run: str
    created: str
    checks: list[dict[str, Any]]


def proof_key(package_sha256: str, examples: str, model: str) -> str:
    """Returns the digest of everything that a proof depends on.

    Args:
        package_sha256: The digest of the package.
        examples: The engineered rows, a path or gs:// uri.
        model: The kind of model that the proof trains.

    Raises:
        ArtifactError: The examples are not complete.
    """
    parts = {
        "version": VERSION,
        "package": package_sha256,
        "model": model,
        "examples": shape_of_examples(examples),
        **describe_installation(),
        "proof": {p.name: sha256_of(p) for p in sorted(Path(__file__).parent.glob("*.py"))},
    }
    return _digest(parts)


def shape_of_examples(examples: str) -> dict[str, Any]:
    """Returns what a trainer sees of all examples of a spec, whatever rows they were fitted to.

    A vocabulary grows with the rows, and a network is built by its size, so that is rounded to a
    power of two.
    """
    manifest = read_manifest(examples, "manifest.json", "preprocess")
    sha256 = manifest["files"]["transform.json"]
    document = read_manifest(examples, "transform.json", "preprocess", sha256)
    transform = Transform.from_json(json.dumps(document))
    sizes = [(c.name, c.cardinality and c.cardinality.bit_length()) for c in transform.engineered]
    return {
        "task": transform.task,
        "label": asdict(transform.label),
        "weight": transform.weight,
        "inputs": [asdict(i) for i in transform.inputs],
        "features": [
            [feature[key] for key in ("name", "transform", "columns", "types")]
            for feature in document["features"]
        ],
        "engineered": sizes,
    }


def read_proof(root: str, key: str, checks: Sequence[str]) -> Proof | None:
    """Returns the recorded proof of a key, or None if it must be done.

    Args:
        root: The folder of all runs, local or gs://.
        key: The key.
        checks: The names of the checks, in their order.
    """
    uri = _uri(root, key)
    try:
        record = json.loads(storage.read_file(uri))
        body = {name: value for name, value in record.items() if name != "sha256"}
        if record["sha256"] != _digest(body) or body["key"] != key:
            raise ValueError("its digest is another one")
        if [(c["name"], c["passed"]) for c in body["checks"]] != [(name, True) for name in checks]:
            raise ValueError("it has other checks")
        return Proof(str(body["run"]), str(body["created"]), body["checks"])
    except FileNotFoundError:
        return None
    except (OSError, *MISSHAPEN) as error:
        print(f"package: {uri} is not taken ({first_line(error)}); the proof is done again")
        return None


def write_proof(root: str, key: str, proof: Proof) -> None:
    """Records a proof; a root that cannot be written to stops no run."""
    body = {"version": VERSION, "key": key, **asdict(proof)}
    record = {**body, "sha256": _digest(body)}
    try:
        storage.write_file(_uri(root, key), json_bytes(record))
        storage.remove_oldest(f"{root}/{FOLDER}", MAX_BYTES)
    except OSError as error:
        print(f"package: the proof is not recorded: {first_line(error)}")


def _uri(root: str, key: str) -> str:
    return f"{root.rstrip('/')}/{FOLDER}/{key}.json"


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
