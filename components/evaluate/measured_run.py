"""The record of a run that was measured, which outlives its artifacts and needs no index.

On Vertex AI the artifacts of a run lie below its number, so nothing else at the root leads to them.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

DECISION = ("decision", "why", "rows_to_decide")
"""What the gate decided; one of 0.1.0, or of a quick run, has none of it."""


def measured_run(
    made_of: Mapping[str, Any], metrics: Mapping[str, Any], artifacts: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the record of a run, about as large as its spec.

    Args:
        made_of: What the next run compares itself with, by `changes.record_of`.
        metrics: metrics.json.
        artifacts: The paths or uris of its artifacts by their names.
    """
    failed = [check for check in metrics["gate"]["checks"] if not check["passed"]]
    return {
        **made_of,
        "name": metrics["name"],
        "task": metrics["task"],
        "label": metrics["label"],
        "decided": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "test_rows": metrics["rows"],
        "metrics": metrics["metrics"],
        "gate": {
            "passed": metrics["gate"]["passed"],
            "failed": {check["metric"]: check["sentence"] for check in failed},
            **{key: metrics["gate"][key] for key in DECISION if key in metrics["gate"]},
        },
        "warnings": [warning["sentence"] for warning in metrics["warnings"]],
        "changes": metrics["changes"],
        "artifacts": dict(artifacts),
        "digests": _digests(metrics),
    }


def _digests(metrics: Mapping[str, Any]) -> dict[str, str] | None:
    """Returns those of lineage.json by which models are listed; None of an earlier version."""
    made_by = metrics.get("made_by", {})
    if "lineage" not in made_by:
        return None
    return {
        "spec": made_by["spec"],
        "data": metrics["run"]["data"]["digest"],
        "trainer": made_by["package"],
        "image": made_by["image"],
    }
