"""A hand-made model and hand-made examples, in the formats between the steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.artifacts import sha256_of, sha256_of_files, write_json
from quatrain.components.specification.parameter import read_parameter
from quatrain.trainer.features import Input, Standardize, Vocabulary, raw_inputs
from quatrain.trainer.features.transform import Label, Transform
from quatrain.validation.load import validate

INPUTS = (Input("delay", "float"), Input("carrier", "string"))
FEATURES = (
    Standardize(
        name="delay", columns=("delay",), types=("float",), fill=0.0, mean=10.0, scale=20.0
    ),
    Vocabulary(name="carrier", columns=("carrier",), types=("string",), tokens=("AA", "UA")),
)
CLASSES = {"binary": ("false", "true"), "multiclass": ("a", "b", "c"), "regression": ()}
OFFSETS = {0: 0.0, 1: 0.1, 2: -0.4, 3: 0.6}


def make_transform(task: str = "binary", weight: str | None = None) -> Transform:
    """The fitted transform of every test here: one number, one category."""
    return Transform(task, Label("late", CLASSES[task]), weight, INPUTS, FEATURES)  # type: ignore[arg-type]


def make_spec(
    task: str = "binary", split: dict[str, Any] | None = None, day: str = "int", **evaluate: Any
) -> str:
    """The spec that the hand-made examples follow, as it travels."""
    value = {
        "name": "hand-made",
        "source": {"uri": "rows.csv"},
        "columns": {"delay": "float", "carrier": "string", "late": "bool", "day": day},
        "label": "late",
        "task": task,
        "split": split or {"by": "hash", "keys": ["day"]},
        "features": [
            {"name": "delay", "from": "delay", "transform": "standardize"},
            {"name": "carrier", "from": "carrier", "transform": "vocabulary"},
        ],
        "evaluate": evaluate,
    }
    return validate(value).as_json()


def make_rows(n: int, task: str = "binary", seed: int = 0) -> pa.Table:
    """Raw rows with a label that follows the model, and some missing values."""
    rng = np.random.default_rng(seed)
    delay = np.round(rng.normal(10, 20, n), 1)
    carrier = rng.choice(np.array(["AA", "UA", "B6", None], object), n)
    score = (delay - 10) / 20 + (carrier == "UA") * 0.6
    label = {
        "binary": (rng.random(n) < 1 / (1 + np.exp(-score))).astype(np.int32),
        "multiclass": np.clip(np.floor(score + rng.normal(0, 0.5, n)) + 1, 0, 2).astype(np.int32),
        "regression": (score + rng.normal(0, 0.5, n)).astype(np.float32),
    }[task]
    missing = pa.array(delay, mask=rng.random(n) < 0.05)
    columns = {"delay": missing, "carrier": pa.array(carrier, pa.string()), "label": label}
    return pa.table({**columns, "weight": rng.uniform(0.5, 2, n).astype(np.float32)})


def write_examples(
    folder: Path,
    rows: dict[str, pa.Table],
    task: str = "binary",
    cuts: int = 2,
    weight: str | None = None,
    damage: Callable[[dict[str, np.ndarray]], None] | None = None,
    spec: str | None = None,
    kept: dict[str, Any] | None = None,
) -> Path:
    """Writes an `examples` artifact; `damage` may spoil the engineered columns of test shards.

    `kept` are the statistics that a later run compares with its own.
    """
    folder.mkdir(parents=True)
    transform = make_transform(task, weight)
    for split, table in rows.items():
        bounds = np.linspace(0, table.num_rows, cuts + 1).astype(int)
        for k in range(cuts):
            part = table.slice(bounds[k], bounds[k + 1] - bounds[k])
            engineered = transform.numpy(raw_inputs(part, INPUTS))
            if damage and split == "test":
                damage(engineered)
            columns = {**engineered, "label": part["label"]}
            if weight:
                columns["weight"] = part["weight"]
            if split != "train":
                columns |= {f"raw_{c}": part[c] for c in ("delay", "carrier")}
            pq.write_table(pa.table(columns), folder / f"{split}-{k:05}-of-{cuts:05}.parquet")
    (folder / "transform.json").write_text(transform.to_json(), encoding="utf-8")
    counts = {split: table.num_rows for split, table in rows.items()}
    manifest = {
        "version": 1,
        "rows": {"read": sum(counts.values()) + 3, "validation": 0, "rejected": 3, **counts},
        "reasons": {"no_arrival": {"rows": 3, "sample": "2013,1,1,<script>alert(1)</script>,NA"}},
        "spec": read_parameter(spec or make_spec(task)).sha256,
        "warnings": [],
    }
    write_json(folder / "statistics.json", {"version": 2, "kept": kept or {}, "audit": []})
    write_json(folder / "manifest.json", {**manifest, "files": sha256_of_files(folder)})
    return folder


def export_model(folder: Path, task: str = "binary", shift: float = 0.0) -> Path:
    """Writes a model folder as the trainer does: two signatures, transform.json, metadata.json.

    With a shift of its scores it is a worse model of the same rows.
    """
    import tensorflow as tf

    transform = make_transform(task)

    def respond(engineered: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        offset = tf.gather(tf.constant(list(OFFSETS.values())), engineered["carrier"])
        score = engineered["delay"] + offset + shift
        if task == "regression":
            return {"prediction": score}
        p = tf.sigmoid(score)
        parts = [1 - p, p] if task == "binary" else [1 - p, 0.7 * p, 0.3 * p]
        return {"probabilities": tf.stack(parts, axis=1)}

    raw = {"delay": tf.TensorSpec([None], tf.float64, "delay")}
    raw["carrier"] = tf.TensorSpec([None], tf.string, "carrier")
    columns = {"delay": tf.TensorSpec([None], tf.float32, "delay")}
    columns["carrier"] = tf.TensorSpec([None], tf.int32, "carrier")

    def engineer(raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        carrier = raw["carrier"]
        known = tf.where(carrier == "AA", 2, tf.where(carrier == "UA", 3, 1))
        return {**FEATURES[0].tensor(raw), "carrier": tf.where(carrier == "", 0, known)}

    module = tf.Module()
    module.serve = tf.function(lambda **kw: respond(engineer(kw)))
    module.engineer = tf.function(lambda **kw: respond(kw))
    signatures = {
        "serving_default": module.serve.get_concrete_function(**raw),
        "engineered": module.engineer.get_concrete_function(**columns),
    }
    tf.saved_model.save(module, str(folder), signatures)
    (folder / "transform.json").write_text(transform.to_json(), encoding="utf-8")
    write_json(folder / "metadata.json", make_metadata(folder, task))
    return folder


def candidate(name: str, loss: float, steps: int = 0, **changes: Any) -> dict[str, Any]:
    """Returns the entry of metadata.json for a model that was fitted."""
    entry = {"name": name, "validation_loss": loss, "seconds": 1.5, "steps": steps}
    return {**entry, "chosen": False, "behind": None, "behind_error": None, **changes}


def make_metadata(folder: Path, task: str) -> dict[str, Any]:
    """The metadata of a model folder, as the trainer writes it."""
    return {
        "version": 1,
        "task": task,
        "label": "late",
        "classes": list(CLASSES[task]),
        "inputs": [{"name": i.name, "type": i.type, "argument": i.name} for i in INPUTS],
        "engineered": [{"name": f.name, "argument": f.name} for f in FEATURES],
        "package_sha256": "0" * 64,
        "examples": {"transform": sha256_of(folder / "transform.json"), "rows": {"train": 600}},
        "model": {
            "kind": "blend",
            "shares": {"tabm": 0.75, "trees": 0.25},
            "candidates": [
                candidate("tabm", 0.6, 30, behind=0.01, behind_error=0.004),
                candidate("trees", 0.62, 50, behind=0.03, behind_error=0.02),
                candidate("blend", 0.59, 80, chosen=True, behind=0.0, behind_error=0.0),
            ],
            "refit_rows": 750,
        },
        "hyperparameters": {"epochs": 3, "batch_size": 64},
        "versions": {"tensorflow": "2.21.0", "python": "3.11.7"},
        "tier": "BASIC",
        "strategy": "one_device",
        "replicas": 1,
        "steps": 30,
        "epochs": 3,
        "stopped": "epochs",
        "best_epoch": 2,
        "history": [
            {"epoch": e, "step": 10 * e, "loss": a, "validation_loss": b, "seconds": e / 2}
            for e, a, b in ((1, 0.66, 0.65), (2, 0.61, 0.60), (3, 0.59, 0.61))
        ],
        "files": sha256_of_files(folder),
    }


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of an evaluation."""
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
