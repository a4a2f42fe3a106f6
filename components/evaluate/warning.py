"""The warnings of a run: what it knows and no bound of the gate covers, the most harmful first.

A warning never fails a run. Its sentence is the same in metrics.json, in the report, in the
terminal and in the logs of the steps.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quatrain.components.evaluate.decision import held
from quatrain.components.evaluate.gate import (
    FEW_ROWS,
    WHERE_TO_LOOK,
    against_opponent,
    is_worse,
    losses_of,
    meets,
    prior_of,
    rival_of,
)
from quatrain.components.evaluate.measures.metrics import loss_of
from quatrain.components.preprocess.checks.split_problems import leak_warnings
from quatrain.components.preprocess.drift.compare import checks_of, sentence_of
from quatrain.components.quick_run import is_quick
from quatrain.components.specification.schema import ChampionLimit, ModelSpec, OpponentLimit
from quatrain.components.times import parse_utc
from quatrain.components.wording import counted
from quatrain.trainer.features.base import TIMES

SERIOUS, MINOR = "serious", "minor"
KINDS: Mapping[str, str] = {
    "leak": SERIOUS,
    "shared_rows": SERIOUS,
    "few_rows": SERIOUS,
    "future_rows": SERIOUS,
    "no_gain": SERIOUS,
    "single_input": SERIOUS,
    "bias": SERIOUS,
    "drift": SERIOUS,
    "champion": SERIOUS,
    "opponent": SERIOUS,
    "not_compared": SERIOUS,
    "empty_gate": SERIOUS,
    "never_predicted": MINOR,
    "close_input": MINOR,
    "small_bias": MINOR,
    "rare_class": MINOR,
    "future_times": MINOR,
    "sizes": MINOR,
    "no_opponent": MINOR,
    "rows": MINOR,
}
"""The severity of each kind, the most harmful first; docs/operations.md says what each means.

A verdict with a serious warning is not plain green.
"""
FEW_OF_CLASS = 10
"""Fewer test rows of a class say little about its recall."""
BIAS = 0.1
"""From this share of the mean absolute error on, a mean error is serious."""
DAY = datetime.timedelta(days=1)
"""A time without a zone may be up to a day ahead of UTC."""
MORE = "make the test share of `split` larger, or bring more rows"
NAMED = 3
"""Classes that a sentence names."""

_AUDIT = {
    "predictors": "leak",
    "keys": "shared_rows",
    "identical_rows": "shared_rows",
    "time_order": "shared_rows",
    "sizes": "sizes",
}
"""The kind of a finding, by the check of the audit."""
Estimates = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class RunWarning:
    """A warning of a run, as metrics.json lists it."""

    kind: str
    sentence: str

    def as_json(self) -> dict[str, str]:
        """Returns the warning with its severity."""
        return {**asdict(self), "severity": KINDS[self.kind]}


@dataclass(frozen=True)
class Evidence:
    """What a run knows of its rows and of its model.

    Attributes:
        measured: The measurements, as in metrics.json.
        classes: The names of the classes; empty for a regression.
        manifest: manifest.json of the examples.
        statistics: statistics.json of the examples.
        drift: drift.json; None without one.
        created: When the run was created, as an ISO time; if empty, no time is in the future.
    """

    measured: Mapping[str, Any]
    classes: Sequence[str]
    manifest: Mapping[str, Any]
    statistics: Mapping[str, Any]
    drift: Mapping[str, Any] | None = None
    created: str = ""


def run_warnings(spec: ModelSpec, evidence: Evidence) -> list[dict[str, str]]:
    """Returns the warnings of metrics.json, each sentence once."""
    measured, found = evidence.measured, list[RunWarning]()
    found += _of_rows(spec, evidence)
    found += _future_times(spec, evidence)
    found += _of_drift(evidence.drift or {"comparisons": []})
    found += _few_rows(measured, evidence.classes)
    found += _of_baselines(measured)
    found += _of_bias(measured)
    found += _of_champion(measured, spec.evaluate.champion)
    if not is_quick(evidence.manifest):
        found += _of_opponent(measured, spec.evaluate.opponent)
    found += _empty_gate(measured, spec)
    found += _never_predicted(measured, evidence.classes)
    order = list(KINDS)
    ranked = sorted(dict.fromkeys(found), key=lambda w: order.index(w.kind))
    return [warning.as_json() for warning in ranked]


def _of_rows(spec: ModelSpec, evidence: Evidence) -> Iterator[RunWarning]:
    """Yields the findings of the audit, and the other warnings of preprocess."""
    kinds = {c["sentence"]: _AUDIT[c["check"]] for c in evidence.statistics["audit"]}
    kinds |= dict.fromkeys(leak_warnings(spec), "leak")
    for sentence in evidence.manifest["warnings"]:
        yield RunWarning(kinds.get(sentence, "rows"), sentence)


def _future_times(spec: ModelSpec, evidence: Evidence) -> Iterator[RunWarning]:
    """Yields a sentence for each column with times that are still to come as the run begins."""
    if not evidence.created:
        return
    today = parse_utc(evidence.created)
    for column, last in sorted(_last_times(evidence.statistics).items()):
        if last <= today + DAY:
            continue
        by_split = spec.split.by == "time" and spec.split.column == column
        consequence = ", and by this time the last rows are the test rows" if by_split else ""
        yield RunWarning(
            "future_rows" if by_split else "future_times",
            f"the times in {column!r} reach {last:%Y-%m-%d}, beyond the day of this run, "
            f"{today:%Y-%m-%d}{consequence}; where they are wrong, correct or reject them",
        )


def _last_times(statistics: Mapping[str, Any]) -> dict[str, datetime.datetime]:
    """Returns the last time of each column of times, over all splits."""
    texts: dict[str, list[str]] = {}
    for check in statistics["audit"]:
        if check["check"] == "time_order":
            ends = check["numbers"]["splits"].values()
            texts.setdefault(check["numbers"]["column"], []).extend(last for _, last in ends)
    times = {column: max(map(parse_utc, ends)) for column, ends in texts.items() if ends}
    for split in statistics.get("splits", {}).values():
        for name, column in split["columns"].items():
            if column["type"] in TIMES and column.get("max") is not None:
                seconds = datetime.timedelta(seconds=column["max"])
                last = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + seconds
                times[name] = max(last, times.get(name, last))
    return times


def _of_drift(drift: Mapping[str, Any]) -> Iterator[RunWarning]:
    """Yields the measures above their limits: the label's first, then the furthest from chance."""
    found = [
        (not is_label, -check["value"] / check["noise"], sentence_of(comparison, check))
        for comparison in drift["comparisons"]
        for is_label, check in checks_of(comparison)
        if check["verdict"] == "warn"
    ]
    for _, _, sentence in sorted(found):
        yield RunWarning("drift", sentence)


def _few_rows(measured: Mapping[str, Any], classes: Sequence[str]) -> Iterator[RunWarning]:
    """Yields that the test rows, or those of a class, are too few to measure by."""
    rows = measured["rows"]
    if rows < FEW_ROWS:
        yield RunWarning(
            "few_rows",
            f"{counted(rows, 'test row', 'are')} few: other rows could turn the verdict; {MORE}",
        )
        return
    counts = [sum(row) for row in measured["curves"].get("confusion", [])]
    rare = {name: n for name, n in zip(classes, counts, strict=True) if n < FEW_OF_CLASS}
    if not rare:
        return
    if len(classes) == 2:
        name, n = min(rare.items(), key=lambda item: item[1])
        are = "is" if round(n) == 1 else "are"
        yield RunWarning(
            "few_rows",
            f"only {n:,.0f} of {counted(rows, 'test row')} {are} {name!r}: recall, precision and "
            f"AUC say little; {MORE}",
        )
        return
    yield RunWarning(
        "rare_class",
        f"{len(rare):,} of the {len(classes):,} classes {'has' if len(rare) == 1 else 'have'} "
        f"fewer than {FEW_OF_CLASS} test rows ({_named(rare)}): recall and precision say little "
        f"there",
    )


def _of_baselines(measured: Mapping[str, Any]) -> Iterator[RunWarning]:
    """Yields that the model hardly beats the train prior, or that one input alone beats it."""
    baseline, name = measured["baseline"], loss_of(measured["task"])
    compared, ours, prior = losses_of(measured, baseline, baseline["trivial"])
    model, single, worse = measured["metrics"][name], baseline["single_input"], baseline["worse"]
    value, alone = model["value"], single["metrics"][name]["value"]
    if value is None or ours is None:
        return
    if prior is not None and worse["high"] is not None and ours < prior and worse["high"] >= 0:
        yield RunWarning(
            "no_gain",
            f"{compared}={ours:,.4f} is hardly below {prior:,.4f}, that of always predicting the "
            f"train {prior_of(measured)}: on the same rows the difference is {worse['value']:+.1%} "
            f"({worse['low']:+.1%} to {worse['high']:+.1%})",
        )
    if alone is not None and alone < value:
        is_close = model["low"] is not None and alone >= model["low"]
        yield RunWarning(
            "close_input" if is_close else "single_input",
            f"{_input_of(single)} alone has {name}={alone:,.4f}, the model {value:,.4f}",
        )


def _input_of(single: Mapping[str, Any]) -> str:
    """Returns what the model of one input knows: the raw input, or a column made of it."""
    name, made_of = single["input"], single["from"]
    if made_of == [name]:
        return f"the input {name!r}"
    return f"the column {name!r} that is made of {' and '.join(map(repr, made_of))}"


def _of_bias(measured: Mapping[str, Any]) -> Iterator[RunWarning]:
    """Yields that a regression is too high or too low on average, beyond chance."""
    metrics: Estimates = measured["metrics"]
    if measured["task"] != "regression":
        return
    value, low, high = (metrics["mean_error"][key] for key in ("value", "low", "high"))
    size = metrics["mae"]["value"]
    if value is None or low is None or high is None or size is None or low <= 0 <= high:
        return
    is_serious = min(abs(low), abs(high)) >= BIAS * size
    yield RunWarning(
        "bias" if is_serious else "small_bias",
        f"the predictions are too {'high' if value > 0 else 'low'} on average: "
        f"mean_error={value:,.4f} ({low:,.4f} to {high:,.4f}), where the mean absolute error is "
        f"{size:,.4f}",
    )


def _of_champion(measured: Mapping[str, Any], limit: ChampionLimit) -> Iterator[RunWarning]:
    """Yields why the model is held, unless it fails by the comparison."""
    rival = rival_of(measured)
    if rival and limit.fail is not None and is_worse(rival["worse"], limit.fail):
        return
    if decision := held(measured, limit):
        rivals = (measured["champion"], measured.get("best"))
        compared = not any(rival and rival["why"] for rival in rivals)
        yield RunWarning("champion" if compared else "not_compared", decision.why)


def _of_opponent(measured: Mapping[str, Any], limit: OpponentLimit) -> Iterator[RunWarning]:
    """Yields why there is no opponent, or that the model is worse by more than `warn`."""
    opponent = measured["opponent"]
    if opponent["why"]:
        if limit.warn is not None or limit.fail is not None:
            sentence = f"not compared with boosted trees: {opponent['why']}"
            yield RunWarning("no_opponent", sentence)
        return
    fails = limit.fail is not None and is_worse(opponent["worse"], limit.fail)
    if limit.warn is None or fails or not is_worse(opponent["worse"], limit.warn):
        return
    yield RunWarning("opponent", f"{against_opponent(measured)}; {WHERE_TO_LOOK}")


def _empty_gate(measured: Mapping[str, Any], spec: ModelSpec) -> Iterator[RunWarning]:
    """Yields that the gate has no bound, or none that the train prior would miss."""
    bounds = {name: bound.model_dump() for name, bound in spec.evaluate.gate.items()}
    if not bounds:
        why = "`evaluate.gate` has no bound"
    elif all(meets(measured["baseline"]["trivial"][n]["value"], b) for n, b in bounds.items()):
        why = f"always predicting the train {prior_of(measured)} meets every bound of it"
    else:
        return
    name = loss_of(measured["task"])
    prior = measured["baseline"]["trivial"][name]["value"]
    example = "" if prior is None else f", such as {name}: {{max: {_below(prior)}}}"
    yield RunWarning(
        "empty_gate",
        f"the gate asks for nothing: {why}; write a bound that a good model reaches{example}",
    )


def _below(value: float) -> str:
    """Returns about nine tenths of a positive number, with two digits."""
    return f"{float(f'{0.9 * value:.2g}'):g}"


def _never_predicted(measured: Mapping[str, Any], classes: Sequence[str]) -> Iterator[RunWarning]:
    """Yields that the model never predicts a class which test rows have."""
    confusion = measured["curves"].get("confusion", [])
    never = {
        name: sum(confusion[k])
        for k, name in enumerate(classes)
        if sum(row[k] for row in confusion) == 0 < sum(confusion[k])
    }
    if not never:
        return
    rows = math.fsum(never.values())
    mend = "use the probabilities, and a threshold of your own"
    if len(never) == 1:
        sentence = f"no test row is predicted {_named(never)}, which {rows:,.0f} are: {mend}"
    else:
        sentence = (
            f"{len(never):,} of the {len(classes):,} classes are never predicted "
            f"({_named(never)}), though {rows:,.0f} test rows have them: {mend}"
        )
    yield RunWarning("never_predicted", sentence)


def _named(classes: Mapping[str, float]) -> str:
    names = list(classes)
    return ", ".join(map(repr, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
