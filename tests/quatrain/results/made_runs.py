"""Writes what runs leave below a root, by hand: a folder, a record, or both."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

SPEC = {"evaluate": {"gate": {"auc": {"min": 0.8}}}, "train": {"epochs": 10}}
CODE = {"quatrain": "0.2.0", "trainer": "a" * 64}


def run_document(run: str, started: str, **changed: Any) -> dict[str, Any]:
    """run.json of a run of the model `m` that took 33 s."""
    steps = [
        {"name": name, "status": "succeeded", "wall_s": 11.0, "cpu_s": 9.5}
        for name in ("preprocess", "train", "evaluate")
    ]
    document = {"version": 1, "id": run, "name": "m", "status": "succeeded", "error": ""}
    document |= {"pid": os.getpid(), "started": started, "ended": "", "wall_s": 33.0}
    return {**document, "steps": steps, **changed}


def record(run: str, made: str, auc: float = 0.85, **changed: Any) -> dict[str, Any]:
    """The record of a run of the model `m`, decided a minute after it was created."""
    decided = datetime.datetime.fromisoformat(made) + datetime.timedelta(seconds=60)
    passed = auc >= 0.8
    failed = {} if passed else {"auc": f"auc={auc:.4f} on 90 test rows is below the gate 0.8000"}
    return {
        "version": 1,
        "run": run,
        "made": made,
        "spec": SPEC,
        "rows": {"read": 900, "train": 540, "validation": 180, "test": 90, "rejected": 90},
        "data": {"uri": ["t.csv"], "files": 1, "digest": "d" * 64, "days": ""},
        "code": CODE,
        "metrics": {
            "auc": {"value": auc, "low": auc - 0.02, "high": auc + 0.02},
            "log_loss": {"value": 0.5, "low": 0.48, "high": 0.52},
        },
        "name": "m",
        "task": "binary",
        "label": "late",
        "decided": decided.isoformat(),
        "test_rows": 90,
        "gate": {"passed": passed, "failed": failed},
        "warnings": [],
        "changes": {"run": "", "made": "", "why": "first"},
        "artifacts": {"examples": "", "evaluation": "", "model": ""},
        **changed,
    }


def put_here(root: Path, run: str, started: str, **changed: Any) -> Path:
    """A folder that measured its model, with its record; returns the folder."""
    folder = put_folder(root, run, started)
    records = root / "m/statistics/runs"
    records.mkdir(parents=True, exist_ok=True)
    (records / f"{run}.json").write_text(json.dumps(record(run, started, **changed)))
    return folder


def put_folder(root: Path, run: str, started: str, **changed: Any) -> Path:
    """A folder with run.json alone; returns the folder."""
    folder = root / "m" / run
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run_document(run, started, **changed)))
    return folder
