"""The leakage audit of the splits: what the first pass saw, judged.

Each check ends as passed, as a note (worth knowing, and often intended) or as a finding (a warning
of the run), with its number in a sentence. None stops the run: whether rows may repeat or an input
may tell the label is known to whoever knows the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np

from quatrain.components.confidence import wilson
from quatrain.components.preprocess.checks import single_input
from quatrain.components.preprocess.summary.distinct_sample import SIZE, DistinctSample
from quatrain.components.preprocess.summary.evidence import Evidence, Extent, deciding_columns
from quatrain.components.preprocess.summary.summary import Summary
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.split import SPLITS, HashSplit

REPEATED = 0.01
"""Share of repeated rows from which on it is a finding; a metric moves by about as much."""
TOLD_APART = 0.5
"""Share of the rows that are distinct below which repeated ones are the table's nature."""
CHANCE = 1e-4
"""A split is beyond chance when one as far off comes once in 10 000 draws, or less often."""
ALMOST_ALL = {"binary": 0.95, "multiclass": 0.95, "regression": 0.98}
"""Share of the label that one input explains from which on it gives the label away.

Of a rare class the sample has some dozen rows: a few fall on the wrong side of a threshold. The
ranks of a number are often explained to 95 % by an honest input (a diamond's price by its weight).
"""
FEW_DRAWS = 100
"""Below so many effective draws the sizes of a split are mostly luck."""

AUDIT_Z = 1.96
"""Half a 95 % interval in standard errors, to the digits of every statistics.json so far."""

Verdict = Literal["passed", "note", "finding"]


@dataclass(frozen=True)
class AuditCheck:
    """One question to the splits and its answer.

    Attributes:
        check: Which: keys, identical_rows, time_order, predictors or sizes.
        verdict: passed, note or finding.
        sentence: What was found, with its number.
        numbers: The same for machines.
    """

    check: str
    verdict: Verdict
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)


def document(spec: ModelSpec, derived: Mapping[str, str], summary: Summary) -> list[dict[str, Any]]:
    """Returns the audit of statistics.json; `derived` has the types of the derived columns."""
    return [asdict(check) for check in _checks(spec, derived, summary)]


def findings(checks: list[dict[str, Any]]) -> list[str]:
    """Returns the sentences of the findings."""
    return [c["sentence"] for c in checks if c["verdict"] == "finding"]


def _checks(spec: ModelSpec, derived: Mapping[str, str], summary: Summary) -> Iterator[AuditCheck]:
    evidence = summary.evidence
    if isinstance(spec.split, HashSplit):
        yield _keys(spec.split, evidence.keys)
    yield _identical_rows(spec, evidence.rows)
    yield from _time_order(spec, evidence)
    yield _predictors(spec, derived, evidence.sample)
    if isinstance(spec.split, HashSplit):
        yield from _sizes(spec.split, summary, evidence.keys)


def _sampled(sketch: DistinctSample, noun: str) -> str:
    if sketch.complete:
        return f"{sketch.distinct:,} {noun}"
    return f"{SIZE:,} sampled of about {sketch.distinct:,} {noun}"


def _keys(split: HashSplit, keys: DistinctSample) -> AuditCheck:
    shared = int(np.sum(np.count_nonzero(keys.counts, axis=1) > 1))
    named = ", ".join(split.drawn)
    where = _sampled(keys, f"distinct keys ({named})")
    if not shared:
        return AuditCheck("keys", "passed", f"no key stands in two splits, of {where}")
    sentence = f"{shared:,} keys stand in two splits, of {where}"
    return AuditCheck("keys", "finding", sentence, {"shared": shared})


def _identical_rows(spec: ModelSpec, rows: DistinctSample) -> AuditCheck:
    """How many distinct rows of a later split stand in an earlier one, too.

    The columns that decide the split are left out: with them no row could stand in two.
    """
    counts = dict(zip(SPLITS, rows.counts.T, strict=True))
    pairs: list[dict[str, Any]] = []
    for earlier, later in combinations(SPLITS, 2):
        there = counts[later] > 0
        n, repeated = int(there.sum()), int(np.sum(there & (counts[earlier] > 0)))
        share, low, high = _share(repeated, n, exact=rows.complete)
        pair = {"rows_of": later, "also_in": earlier, "distinct": n, "repeated": repeated}
        pairs.append({**pair, "share": share, "low": low, "high": high})
    worst = max(pairs, key=lambda p: (p["low"], p["share"]))
    numbers = {"distinct": rows.distinct, "exact": rows.complete, "pairs": pairs}
    deciding = deciding_columns(spec.split, spec.columns)
    n_columns = len(spec.columns) - len(deciding)
    columns = f"{n_columns} declared column{'s' * (n_columns != 1)}"
    everywhere = f"in the {columns} beside {', '.join(deciding)}"
    if not deciding:
        everywhere = f"in all {columns}"
    if not any(p["repeated"] for p in pairs):
        at_most = "" if rows.complete else f"; at most {worst['high']:.2%} of them (95 %)"
        where = _sampled(rows, "distinct rows")
        sentence = f"no row stands in two splits, {everywhere}, of {where}{at_most}"
        return AuditCheck("identical_rows", "passed", sentence, numbers)
    has_input = any(i.name not in deciding for i in spec.inputs)  # equal labels are no copies
    is_told_apart = has_input and rows.distinct > TOLD_APART * rows.n_rows
    verdict: Verdict = "finding" if worst["low"] > REPEATED and is_told_apart else "note"
    interval = "" if rows.complete else f" ({worst['low']:.2%} to {worst['high']:.2%}, 95 %)"
    sentence = (
        f"{worst['share']:.2%}{interval} of the distinct {worst['rows_of']} rows stand in "
        f"{worst['also_in']} too, identical {everywhere}: "
        + ("they may be copies" if is_told_apart else "these columns do not tell rows apart")
    )
    return AuditCheck("identical_rows", verdict, sentence, numbers)


def _share(part: int, n: int, *, exact: bool) -> tuple[float, float, float]:
    """Returns a share and its 95 % interval (Wilson 1927), over the draw of the sample."""
    if not n:
        return 0.0, 0.0, 0.0 if exact else 1.0
    share = part / n
    return share, *((share, share) if exact else wilson(share, n, z=AUDIT_Z))


def _time_order(spec: ModelSpec, evidence: Evidence) -> Iterator[AuditCheck]:
    """Whether training ends before the later splits begin, by each declared time."""
    own = spec.split.column if spec.split.by == "time" else None
    for column in dict.fromkeys(name for name, _ in evidence.times):
        if own is not None and column != own:
            continue  # the time that the table is ordered by is said
        ends = {s: evidence.times[column, s] for s in SPLITS if (column, s) in evidence.times}
        told = ", ".join(f"{s} {_time(a)[:10]} to {_time(b)[:10]}" for s, (a, b) in ends.items())
        numbers = {"column": column, "splits": {s: [_time(t) for t in e] for s, e in ends.items()}}
        overlap = _overlap(ends)
        if not overlap:
            sentence = f"by {column} the splits follow each other: {told}"
            yield AuditCheck("time_order", "passed", sentence, numbers)
        elif own is not None:
            sentence = f"the splits overlap by their own time {column}: {told}"
            yield AuditCheck("time_order", "finding", sentence, numbers)
        else:
            sentence = (
                f"the splits share their time by {column}, so training knows what comes after "
                f"{overlap} rows ({told}); split by time where the model is to foretell"
            )
            yield AuditCheck("time_order", "note", sentence, numbers)


def _overlap(ends: dict[str, Extent]) -> str:
    """Returns the first split that begins before the one before it has ended."""
    present = [s for s in SPLITS if s in ends]
    return next((b for a, b in pairwise(present) if ends[b][0] <= ends[a][1]), "")


def _time(micros: int) -> str:
    return str(np.datetime64(micros, "us"))[:19]


def _predictors(spec: ModelSpec, derived: Mapping[str, str], rows: DistinctSample) -> AuditCheck:
    """Whether one input alone tells the label."""
    type_ = {**spec.columns, **derived}[spec.label]
    shares = single_input.explained(spec.task, type_, spec.inputs, rows)
    where = _sampled(rows, "distinct rows")
    if not shares:
        sentence = f"{spec.label} varies too little in {where} to say which input tells it"
        return AuditCheck("predictors", "note", sentence)
    numbers = {"explained": shares}
    measure = "spares {:.2%} of the errors of guessing it"
    if spec.task == "regression":
        measure = "explains {:.2%} of the variance of its ranks"
    name, share = next(iter(shares.items()))
    limit = ALMOST_ALL[spec.task]
    if share < limit:
        sentence = (
            f"no input alone tells {spec.label}: the best, {name}, {measure.format(share)}, on "
            f"{where}"
        )
        return AuditCheck("predictors", "passed", sentence, numbers)
    leaks = [f"{n} {measure.format(s)}" for n, s in shares.items() if s >= limit]
    sentence = (
        f"one input alone gives {spec.label} away: {', '.join(leaks)}, on {where}; is it known "
        f"when the prediction is made?"
    )
    return AuditCheck("predictors", "finding", sentence, numbers)


def _sizes(split: HashSplit, summary: Summary, keys: DistinctSample) -> Iterator[AuditCheck]:
    """Whether the splits have the sizes that were asked for.

    A key is a draw, not a row. Keys of unlike sizes count as fewer: of the sizes w of the keys they
    are (sum w)^2 / sum w^2 (Kish 1965, "Survey Sampling"). The bound on the share of the keys is
    the exact binomial tail, that on the share of the rows the normal one over the effective draws.
    """
    sizes = keys.counts.sum(axis=1).astype(float)
    draws = keys.distinct * float(sizes.mean() ** 2 / np.mean(sizes**2))
    counted = len(keys.keys)
    n_rows = sum(summary.rows[s] for s in SPLITS)
    parts, off = [], []
    for name, in_split in zip(SPLITS, keys.counts.T, strict=True):
        asked = float(getattr(split, name))
        n_keys, share = int(np.sum(in_split > 0)), summary.rows[name] / n_rows
        z = abs(share - asked) / math.sqrt(asked * (1 - asked) / draws)
        chance = min(_two_sided(n_keys, counted, asked), math.erfc(z / math.sqrt(2)))
        parts.append({"split": name, "asked": asked, "rows": share, "keys": n_keys / counted})
        parts[-1]["chance"] = chance
        if chance < CHANCE:
            off.append(f"{name} has {n_keys / counted:.1%} of the keys and {share:.1%} of the rows")
            off[-1] += f", asked {asked:.1%} (chance {chance:.0e})"
    numbers = {"keys": keys.distinct, "effective_draws": draws, "splits": parts}
    told = ", ".join(f"{p['split']} {p['rows']:.1%} of {p['asked']:.1%}" for p in parts)
    where = f"{keys.distinct:,} keys, worth {draws:,.0f} draws"
    if off:
        sentence = f"split sizes differ from the request beyond chance ({where}): {'; '.join(off)}"
        yield AuditCheck("sizes", "finding", sentence, numbers)
    elif draws < FEW_DRAWS:
        sentence = f"the sizes are mostly luck, as there are only {where}: {told}"
        yield AuditCheck("sizes", "note", sentence, numbers)
    else:
        sentence = f"the splits have the sizes asked for, within chance of {where}: {told}"
        yield AuditCheck("sizes", "passed", sentence, numbers)


def _two_sided(k: int, n: int, p: float) -> float:
    """Returns the chance of a binomial count at least as far out as `k`: twice its smaller tail.

    `scipy.special.bdtr` sums the same terms, but importing it takes 0.2 CPU-s, and the sums of a
    full sample (n = 4096) take 4 ms.
    """
    terms = np.array([_log_binomial(i, n, p) for i in range(n + 1)])
    chance = np.exp(terms)
    return float(min(1.0, 2 * min(chance[: k + 1].sum(), chance[k:].sum())))


def _log_binomial(k: int, n: int, p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)
