"""The gate: a sentence for each bound that a model meets or misses, and the verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from quatrain.components.errors import GateFailed
from quatrain.components.evaluate.measures.metrics import loss_of
from quatrain.components.wording import counted

LEVEL = 0.0005
"""A smaller relative difference reads `level`; as a percentage it would read 0.0 %."""
FEW_ROWS = 100
"""Fewer test rows prove little: their intervals are wide, and the normal ones are inaccurate."""
OPPONENT = "boosted trees on the raw columns"
BEST = "the best earlier model"
WHERE_TO_LOOK = (
    "look for columns that no feature reads, features that merge or drop values, and a training "
    "that ended early"
)
"""What may be wrong with a model that loses against trees which know nothing of its features."""
Bounds = Mapping[str, Mapping[str, float | None]]


def check_gate(
    measured: Mapping[str, Any],
    bounds: Bounds,
    skew_tolerance: float,
    max_worse: float | None = None,
    max_worse_than_trees: float | None = None,
) -> dict[str, Any]:
    """Returns the gate of metrics.json.

    Besides meeting the bounds of the spec, every model must beat the train prior, and must give the
    same answers to raw rows as to engineered rows.

    Args:
        measured: The measurements, as in metrics.json.
        bounds: `min` and `max` by metric, from `evaluate.gate` of the checked spec.
        skew_tolerance: The largest difference allowed between raw and engineered rows.
        max_worse: How far the model's loss may exceed that of the champion, or of the best earlier
            model if that is better, as a share of it and beyond chance; None to leave them out.
        max_worse_than_trees: The same for the opponent.
    """
    checks = [
        *(c for name, bound in bounds.items() for c in _check_bound(measured, name, bound)),
        *_check_champion(measured, max_worse),
        *_check_opponent(measured, max_worse_than_trees),
        _check_prior(measured),
        _check_skew(measured, skew_tolerance),
    ]
    return {"passed": all(c["passed"] for c in checks), "checks": checks}


def require_passed(
    metrics: Mapping[str, Any], uri: str, only: Collection[str] | None = None
) -> None:
    """Raises an error when the gate of metrics.json failed.

    Args:
        metrics: metrics.json.
        uri: Where the model is, for the message.
        only: The checks that count; by default all.

    Raises:
        GateFailed: A check failed; the message has the sentence of every failed check.
    """
    checks = metrics["gate"]["checks"]
    counting = [c for c in checks if only is None or c["metric"] in only]
    failed = [c["sentence"] for c in counting if not c["passed"]]
    if failed:
        raise GateFailed("; ".join([*failed, f"model kept at {uri}, not promoted"]))


def verdict_of(metrics: Mapping[str, Any]) -> str:
    """Returns `passed`, `held` or `failed`, and the number of warnings if there are any."""
    word = word_of(metrics["gate"])
    warnings = metrics.get("warnings", ())  # version 1 of metrics.json has none
    return f"{word}, with {counted(len(warnings), 'warning')}" if warnings else word


def word_of(gate: Mapping[str, Any]) -> str:
    """Returns the verdict of a gate; those of earlier versions were never held."""
    if not gate["passed"]:
        return "failed"
    return "held" if gate.get("decision") == "hold" else "passed"


def show_small(value: float) -> str:
    """Returns a difference or a tolerance with two significant digits."""
    return f"{value:.2g}"


def _check_bound(
    measured: Mapping[str, Any], name: str, bound: Mapping[str, float | None]
) -> Iterator[dict[str, Any]]:
    """Yields a check for each end of a metric's bound; a value that is None fails it."""
    value = measured["metrics"][name]["value"]
    for side, missed, met in (("min", "below", "at least"), ("max", "above", "at most")):
        limit = bound.get(side)
        if limit is None:
            continue
        passed = value is not None and (value >= limit if side == "min" else value <= limit)
        if passed:
            verdict = f"is {met} {{limit}}, as the gate requires"
        else:
            verdict = f"is {missed} the gate {{limit}}"
        yield _check(measured, name, value, {side: limit}, passed, verdict)


def _check_prior(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the check that the model's loss is below that of the train prior."""
    name, value, limit = losses_of(measured, measured["baseline"], measured["baseline"]["trivial"])
    passed = value is not None and limit is not None and value < limit
    comparison = "is below" if passed else "is not below"
    verdict = f"{comparison} {{limit}}, that of always predicting the train {prior_of(measured)}"
    return _check(measured, name, value, {"below": limit}, passed, verdict)


def _check_champion(
    measured: Mapping[str, Any], max_worse: float | None
) -> Iterator[dict[str, Any]]:
    """Yields the check against the champion, unless they were not compared or may differ freely."""
    rival = rival_of(measured)
    if max_worse is None or not rival:
        return
    worse, rows = rival["worse"], measured["rows"]
    passed = not is_worse(worse, max_worse)
    sentence = against_rival(measured)
    if not passed:
        sentence += f", beyond the limit of {max_worse:.1%}"
    yield _result("champion", worse["value"], {"max": max_worse}, passed, rows, sentence)


def _check_opponent(
    measured: Mapping[str, Any], max_worse: float | None
) -> Iterator[dict[str, Any]]:
    """Yields the check against the opponent, if the spec bounds it.

    Where there is no opponent, or too few rows to tell chance from a worse model, it passes, and
    its sentence says why.
    """
    if max_worse is None:
        return
    opponent, rows, bound = measured["opponent"], measured["rows"], {"max": max_worse}
    if opponent["why"]:
        sentence = f"not compared with boosted trees: {opponent['why']}"
        yield _result("opponent", None, bound, True, 0, sentence)
        return
    passed, sentence = True, against_opponent(measured)
    if is_worse(opponent["worse"], max_worse):
        passed = rows < FEW_ROWS
        limit = f"the limit of {max_worse:.1%}" if max_worse else "chance"
        sentence += f", beyond {limit}"
        sentence += "; too few rows to fail by" if passed else f"; {WHERE_TO_LOOK}"
    yield _result("opponent", opponent["worse"]["value"], bound, passed, rows, sentence)


def _check_skew(measured: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """Returns the check that raw and engineered rows get the same answers, within a tolerance."""
    skew = measured["skew"]
    value, rows = skew["max_difference"], skew["rows"]
    passed = value is not None and value <= tolerance
    difference = "not a number" if value is None else show_small(value)
    if passed:
        sentence = (
            f"raw rows through the serving signature and engineered rows give the same answers on "
            f"{counted(rows, 'test row')} (largest difference {difference}, tolerance "
            f"{show_small(tolerance)})"
        )
    else:
        cause = (
            f", where column {skew['column']!r} is engineered otherwise" if skew["column"] else ""
        )
        sentence = (
            f"skew={difference} on {counted(rows, 'test row')} is above the tolerance "
            f"{show_small(tolerance)}: raw rows through the serving signature and engineered rows "
            f"differ most at test row {skew['row']:,}{cause}"
        )
    return _result("skew", value, {"max": tolerance}, passed, rows, sentence)


def meets(value: float | None, bound: Mapping[str, float | None]) -> bool:
    """Returns whether a value is within both ends of a bound."""
    low, high = bound.get("min"), bound.get("max")
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def is_worse(worse: Mapping[str, float | None], limit: float) -> bool:
    """Returns whether even the lower end of the interval lies above the limit.

    The whole interval must be on the wrong side, so that an unlucky draw of test rows does not stop
    a model that is as good as the champion.
    """
    return worse["low"] is not None and worse["low"] > limit


def rival_of(measured: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the better one, on these rows, of the champion and the best earlier model.

    The better rival is the one that this model is the more worse than. Returns None if the champion
    was not compared.
    """
    champion, best = measured["champion"], measured.get("best")
    if not champion or champion["why"]:
        return None
    if not best or best["why"] or best["worse"]["value"] is None:
        return champion
    value = champion["worse"]["value"]
    return champion if value is None or value >= best["worse"]["value"] else best


def against_rival(measured: Mapping[str, Any]) -> str:
    """Returns a sentence that compares the losses of the model and of the better rival."""
    rival, champion = rival_of(measured) or {}, measured["champion"]
    who = "the champion" if rival is champion else BEST
    return _against(measured, rival, f"{who}, run {rival['run']}")


def against_opponent(measured: Mapping[str, Any]) -> str:
    """Returns a sentence that compares the losses of the model and of the opponent."""
    return _against(measured, measured["opponent"], OPPONENT)


def _against(measured: Mapping[str, Any], rival: Mapping[str, Any], name_of_rival: str) -> str:
    """Returns a sentence that compares the losses of the model and of a rival."""
    name, ours, theirs = losses_of(measured, rival, rival.get("metrics", {}))
    worse = rival["worse"]
    if worse["value"] is None:
        return f"{name_of_rival} has no loss that this one could be compared with"
    verdict = "level with"
    if abs(worse["value"]) >= LEVEL:
        verdict = f"{abs(worse['value']):.1%} {'worse' if worse['value'] > 0 else 'better'} than"
    interval = "" if worse["low"] is None else f" ({worse['low']:+.1%} to {worse['high']:+.1%})"
    if worse["low"] == worse["high"] == 0:
        interval = ", the same on every row"
    return (
        f"{name}={ours:,.4f} on {counted(measured['rows'], 'test row')} is {verdict} {theirs:,.4f} "
        f"of {name_of_rival}{interval}"
    )


def losses_of(
    measured: Mapping[str, Any], rival: Mapping[str, Any], metrics: Mapping[str, Any]
) -> tuple[str, float | None, float | None]:
    """Returns the name of the loss by which a model is compared, its value and that of a rival.

    Args:
        measured: The measurements, as in metrics.json.
        rival: The rival's part of them.
        metrics: The metrics of the rival.
    """
    name = loss_of(measured["task"])
    if weighted := rival.get("class_weighted"):
        return f"class-weighted {name}", weighted["model"], weighted["rival"]
    return name, measured["metrics"][name]["value"], metrics[name]["value"]


def prior_of(measured: Mapping[str, Any]) -> str:
    """Returns what of the train rows the trivial baseline always predicts."""
    return "mean label" if measured["task"] == "regression" else "share of each class"


def _check(
    measured: Mapping[str, Any],
    name: str,
    value: float | None,
    bound: Mapping[str, float | None],
    passed: bool,
    verdict: str,
) -> dict[str, Any]:
    """Returns the check of a metric; `verdict` is a format string that may show `limit`."""
    value_shown, limit_shown = _show_apart(value, next(iter(bound.values())))
    rows = measured["rows"]
    if value is None:
        why = "none is predicted positive" if name == "precision" else "a class is absent"
        if measured["task"] == "regression":
            why = "their labels are all the same"
        sentence = f"{name} cannot be computed on {counted(rows, 'test row')} ({why})"
    else:
        verdict = verdict.format(limit=limit_shown)
        sentence = f"{name}={value_shown} on {counted(rows, 'test row')} {verdict}"
    return _result(name, value, bound, passed, rows, sentence)


def _result(
    name: str,
    value: float | None,
    bound: Mapping[str, float | None],
    passed: bool,
    rows: int,
    sentence: str,
) -> dict[str, Any]:
    """Returns a check as metrics.json lists it."""
    return {
        "metric": name,
        "value": value,
        "bound": bound,
        "passed": passed,
        "rows": rows,
        "sentence": sentence,
    }


def _show_apart(a: float | None, b: float | None) -> tuple[str, str]:
    """Returns both numbers with the fewest digits, at least four, that keep them different.

    Otherwise a failed gate could read `auc=0.8975 is below the gate 0.8975`.
    """
    if a is None or b is None:
        return tuple("none" if v is None else f"{v:.4f}" for v in (a, b))  # type: ignore[return-value]
    for digits in range(4, 17):
        texts = f"{a:,.{digits}f}", f"{b:,.{digits}f}"
        if texts[0] != texts[1]:
            break
    else:
        return f"{a:,.4f}", f"{b:,.4f}"
    return texts
