"""The measurements of metrics.json, from the statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.evaluate.baseline import compare
from components.evaluate.measuring import Measured
from components.evaluate.metrics import Estimate


def summarize(measured: Measured) -> dict[str, Any]:
    """Returns everything in metrics.json that is measured: all but the gate and what made it.

    A number that the rows cannot tell is None. Slices are sorted, most rows first.
    """
    slices = sorted(measured.slices.items(), key=lambda s: (s[0][0], -s[1].rows, s[0][1]))
    summary = {
        "task": measured.overall.frame.task,
        "rows": measured.overall.rows,
        "metrics": measured.overall.metrics(),
        "baseline": compare(measured.trivial, measured.inputs),
        "slices": [
            {"column": column, "value": value, "rows": s.rows, "metrics": s.metrics()}
            for (column, value), s in slices
        ],
        "skew": {
            "rows": measured.skew.rows,
            "max_difference": measured.skew.difference,
            "row": measured.skew.row,
            "inputs": measured.skew.inputs,
            "column": measured.skew.column,
        },
        "curves": measured.overall.curves(),
    }
    plain: dict[str, Any] = _plain(summary)
    return plain


def _plain(value: Any) -> Any:
    """JSON of a value: estimates as mappings, numbers that are not finite as None."""
    if isinstance(value, Estimate):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
