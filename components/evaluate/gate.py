"""The gate: which bounds the model reached, each in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quatrain.components.errors import GateFailed
from quatrain.components.evaluate.measures.metrics import loss_of

LEVEL = 0.0005
"""Nearer losses are told as level."""
Bounds = Mapping[str, Mapping[str, float | None]]


def check_gate(
    measured: Mapping[str, Any],
    bounds: Bounds,
    skew_tolerance: float,
    worse: float | None = None,
) -> dict[str, Any]:
    """Returns the gate of metrics.json.

    Beside the bounds of the spec a model must always beat the train prior and answer raw rows as it
    answers engineered rows.

    Args:
        measured: Measurements, as in metrics.json.
        bounds: `min` and `max` by metric, from `evaluate.gate` of the checked spec.
        skew_tolerance: The largest difference between raw and engineered rows.
        worse: By what share the loss may be above the champion's, beyond chance.
    """
    checks = [
        *(c for name, bound in bounds.items() for c in _bounded(measured, name, bound)),
        *_against_champion(measured, worse),
        _beats_prior(measured),
        _without_skew(measured, skew_tolerance),
    ]
    return {"passed": all(c["passed"] for c in checks), "checks": checks}


def require_passed(metrics: Mapping[str, Any], uri: str) -> None:
    """Raises what the gate of metrics.json found.

    Raises:
        GateFailed: A check failed; the message has the sentence of each one.
    """
    failed = [c["sentence"] for c in metrics["gate"]["checks"] if not c["passed"]]
    if failed:
        raise GateFailed("; ".join([*failed, f"model kept at {uri}, not promoted"]))


def show_small(value: float) -> str:
    """A difference or a tolerance, to two digits."""
    return f"{value:.2g}"


def _bounded(
    measured: Mapping[str, Any], name: str, bound: Mapping[str, float | None]
) -> Iterator[dict[str, Any]]:
    value = measured["metrics"][name]["value"]
    for side, missed, reached in (("min", "below", "reaches"), ("max", "above", "is within")):
        limit = bound.get(side)
        if limit is None:
            continue
        passed = value is not None and (value >= limit if side == "min" else value <= limit)
        verdict = reached if passed else f"is {missed}"
        yield _check(measured, name, value, {side: limit}, passed, f"{verdict} the gate {{limit}}")


def _beats_prior(measured: Mapping[str, Any]) -> dict[str, Any]:
    name = loss_of(measured["task"])
    value = measured["metrics"][name]["value"]
    limit = measured["baseline"]["trivial"][name]["value"]
    prior = "mean label" if measured["task"] == "regression" else "share of each class"
    passed = value is not None and limit is not None and value < limit
    verdict = "is below" if passed else "is not below"
    what = f"{verdict} {{limit}}, that of always predicting the train {prior}"
    return _check(measured, name, value, {"below": limit}, passed, what)


def _against_champion(measured: Mapping[str, Any], limit: float | None) -> Iterator[dict[str, Any]]:
    champion = measured["champion"]
    if limit is None or not champion or champion["why"]:
        return
    worse, rows = champion["worse"], measured["rows"]
    passed = not is_worse(worse, limit)
    sentence = compared(measured)
    if not passed:
        sentence += f", beyond the limit of {limit:.1%}"
    yield _result("champion", worse["value"], {"max": limit}, passed, rows, sentence)


def is_worse(worse: Mapping[str, float | None], limit: float) -> bool:
    """Whether a loss is above the champion's by more than a share of it, whatever chance did."""
    return worse["low"] is not None and worse["low"] > limit


def compared(measured: Mapping[str, Any]) -> str:
    """Returns a sentence on a model and the champion that it was compared with."""
    champion, name = measured["champion"], loss_of(measured["task"])
    ours, theirs = (m["metrics"][name]["value"] for m in (measured, champion))
    worse = champion["worse"]
    if worse["value"] is None:
        return f"the champion, run {champion['run']}, makes no error here to be compared by"
    how = "level with"
    if abs(worse["value"]) >= LEVEL:
        how = f"{abs(worse['value']):.1%} {'worse' if worse['value'] > 0 else 'better'} than"
    spread = "" if worse["low"] is None else f" ({worse['low']:+.1%} to {worse['high']:+.1%})"
    return (
        f"{name}={ours:,.4f} on {measured['rows']:,} test rows is {how} {theirs:,.4f} of the "
        f"champion, run {champion['run']}{spread}"
    )


def _without_skew(measured: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    skew = measured["skew"]
    value, rows = skew["max_difference"], skew["rows"]
    passed = value is not None and value <= tolerance
    said = "not a number" if value is None else show_small(value)
    if passed:
        sentence = (
            f"raw rows through the serving signature and engineered rows give the same answers on "
            f"{rows:,} test rows (largest difference {said}, tolerance {show_small(tolerance)})"
        )
    else:
        cause = (
            f", where column {skew['column']!r} is engineered otherwise" if skew["column"] else ""
        )
        sentence = (
            f"skew={said} on {rows:,} test rows is above the tolerance {show_small(tolerance)}: "
            f"raw rows through the serving signature and engineered rows differ most at test row "
            f"{skew['row']:,}{cause}"
        )
    bound = {"max": tolerance}
    return _result("skew", value, bound, passed, rows, sentence)


def _check(
    measured: Mapping[str, Any],
    name: str,
    value: float | None,
    bound: Mapping[str, float | None],
    passed: bool,
    verdict: str,
) -> dict[str, Any]:
    limit = next(iter(bound.values()))
    shown, limit_shown = _apart(value, limit)
    rows = measured["rows"]
    verdict = verdict.format(limit=limit_shown)
    sentence = f"{name}={shown} on {rows:,} test rows {verdict}"
    if value is None:
        why = "none is predicted positive" if name == "precision" else "a class is absent"
        sentence = f"{name} cannot be computed on {rows:,} test rows ({why})"
    return _result(name, value, bound, passed, rows, sentence)


def _result(
    name: str,
    value: float | None,
    bound: Mapping[str, float | None],
    passed: bool,
    rows: int,
    sentence: str,
) -> dict[str, Any]:
    return {
        "metric": name,
        "value": value,
        "bound": bound,
        "passed": passed,
        "rows": rows,
        "sentence": sentence,
    }


def _apart(a: float | None, b: float | None) -> tuple[str, str]:
    """Both numbers with as many digits, at least four, as it takes to tell them apart."""
    if a is None or b is None:
        return tuple("none" if v is None else f"{v:.4f}" for v in (a, b))  # type: ignore[return-value]
    for digits in range(4, 17):
        texts = f"{a:,.{digits}f}", f"{b:,.{digits}f}"
        if texts[0] != texts[1]:
            break
    else:
        return f"{a:,.4f}", f"{b:,.4f}"
    return texts
