"""The leakage audit: checks of the splits, on what the first pass counted.

Each check passes, or ends as a note (worth knowing, and often intended) or as a finding (a warning
of the run), with its numbers in a sentence. No check stops the run: only someone who knows the
table can say whether its rows may repeat, or whether an input may predict the label almost alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
from quatrain.components.wording import counted

REPEATED = 0.01
"""From this share on, repeated rows are a finding: a metric moves by about as much."""
ROWS_EACH = 1.5
"""From so many rows for each key on, a key stands for whom or what its rows are about."""
MOSTLY_DISTINCT = 0.5
"""Below this share of distinct rows, repetition is in the nature of the table, so no finding."""
CHANCE = 1e-4
"""A split size is beyond chance if one so far off occurs at most once in 10 000 draws."""
ALMOST_ALL = {"binary": 0.95, "multiclass": 0.95, "regression": 0.98}
"""From this share on, an input that explains the label alone is a finding.

The limit is below 1 for classes, since the sample has only some dozen rows of a rare class, and a
few of them fall on the wrong side of a threshold. It is higher for regressions, where an honest
input often explains 95 % of the ranks: the price of a diamond follows its weight.
"""
FEW_DRAWS = 100
"""With fewer effective draws, the sizes of the splits are mostly luck."""

AUDIT_Z = 1.96
"""Half a 95 % interval in standard errors.

Not `confidence.Z95`, whose further digits would change those of every statistics.json.
"""

AuditVerdict = Literal["passed", "note", "finding"]


@dataclass(frozen=True)
class AuditCheck:
    """A check of the splits, with its result.

    Attributes:
        check: The check's name: keys, identical_rows, time_order, predictors or sizes.
        verdict: The result: passed, note or finding.
        sentence: The result in a sentence, with the numbers that decided it.
        numbers: The same numbers, for programs.
    """

    check: str
    verdict: AuditVerdict
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)


def document(spec: ModelSpec, derived: Mapping[str, str], summary: Summary) -> list[dict[str, Any]]:
    """Returns the audit for statistics.json; `derived` has the types of the derived columns."""
    return [asdict(check) for check in _checks(spec, derived, summary)]


def findings(checks: list[dict[str, Any]]) -> list[str]:
    """Returns the sentences of the findings."""
    return [c["sentence"] for c in checks if c["verdict"] == "finding"]


def _checks(spec: ModelSpec, derived: Mapping[str, str], summary: Summary) -> Iterator[AuditCheck]:
    """Yields the checks in the order of the report; some are for a split by hash only."""
    evidence = summary.evidence
    if isinstance(spec.split, HashSplit):
        yield _keys(spec.split, evidence.keys)
    yield _identical_rows(spec, evidence)
    yield from _time_order(spec, evidence)
    yield _predictors(spec, derived, evidence.sample)
    if isinstance(spec.split, HashSplit):
        yield from _sizes(spec.split, summary, evidence.keys)


def _size_of(sample: DistinctSample, noun: str, of: str = "") -> str:
    size = f"{counted(sample.distinct, noun)}{of}"
    return size if sample.complete else f"{SIZE:,} sampled of about {size}"


def _keys(split: HashSplit, keys: DistinctSample) -> AuditCheck:
    """Checks that no key of a split by hash is in two splits."""
    shared = int(np.sum(np.count_nonzero(keys.counts, axis=1) > 1))
    columns = ", ".join(split.key_columns)
    where = _size_of(keys, "distinct key", f" ({columns})")
    if not shared:
        return AuditCheck("keys", "passed", f"no key stands in two splits, of {where}")
    sentence = f"{counted(shared, 'key', 'stand')} in two splits, of {where}"
    return AuditCheck("keys", "finding", sentence, {"shared": shared})


def _identical_rows(spec: ModelSpec, evidence: Evidence) -> AuditCheck:
    """Checks how many distinct rows of a later split are also in an earlier one.

    The comparison leaves out the columns that decide the split and are no inputs: with them, no row
    could be in two splits. Where these have several rows for each value, as of a person, a copy of
    a row would have the same value and be in the same split; so what is alike elsewhere is none.
    """
    rows = evidence.rows
    counts = dict(zip(SPLITS, rows.counts.T, strict=True))
    pairs: list[dict[str, Any]] = []
    for earlier, later in combinations(SPLITS, 2):
        in_later = counts[later] > 0
        n, repeated = int(in_later.sum()), int(np.sum(in_later & (counts[earlier] > 0)))
        share, low, high = _share(repeated, n, exact=rows.complete)
        pair = {"rows_of": later, "also_in": earlier, "distinct": n, "repeated": repeated}
        pairs.append({**pair, "share": share, "low": low, "high": high})
    worst = max(pairs, key=lambda p: (p["low"], p["share"]))
    numbers = {"distinct": rows.distinct, "exact": rows.complete, "pairs": pairs}
    deciding = deciding_columns(spec.split, spec.columns, [i.name for i in spec.inputs])
    n_columns = len(spec.columns) - len(deciding)
    columns = counted(n_columns, "declared column")
    everywhere = f"in the {columns} other than {', '.join(deciding)}"
    if not deciding:
        everywhere = f"in all {columns}"
    if not any(p["repeated"] for p in pairs):
        at_most = "" if rows.complete else f"; with 95 % confidence, at most {worst['high']:.2%} do"
        where = _size_of(rows, "distinct row")
        sentence = f"no two splits share a row ({where}, compared {everywhere}){at_most}"
        return AuditCheck("identical_rows", "passed", sentence, numbers)
    # If only the label is compared, equal rows are not copies of each other.
    has_input = any(i.name not in deciding for i in spec.inputs)
    is_mostly_distinct = has_input and rows.distinct > MOSTLY_DISTINCT * rows.n_rows
    may_be_copies = is_mostly_distinct and not _are_told_apart(spec, deciding, evidence)
    verdict: AuditVerdict = "finding" if worst["low"] > REPEATED and may_be_copies else "note"
    why = "these columns do not tell rows apart"
    if is_mostly_distinct:
        why = f"they differ in {' and '.join(deciding)}, so they are not copies"
    if may_be_copies:
        why = "they may be copies"
    interval = "" if rows.complete else f" ({worst['low']:.2%} to {worst['high']:.2%}, 95 %)"
    sentence = (
        f"{worst['share']:.2%}{interval} of the distinct {worst['rows_of']} rows stand in "
        f"{worst['also_in']} too, identical {everywhere}: {why}"
    )
    return AuditCheck("identical_rows", verdict, sentence, numbers)


def _are_told_apart(spec: ModelSpec, deciding: Sequence[str], evidence: Evidence) -> bool:
    """Whether what decides the split tells rows apart that are alike in all other columns."""
    if spec.split.by == "time":
        return bool(deciding)
    keys = evidence.keys
    return bool(deciding) and spec.split.by == "hash" and keys.n_rows >= ROWS_EACH * keys.distinct


def _share(part: int, n: int, *, exact: bool) -> tuple[float, float, float]:
    """Returns a share of a sample, and its 95 % interval for the whole table (Wilson 1927).

    If the sample is the whole table, the share is exact. Without rows it may be anything.
    """
    if not n:
        return 0.0, 0.0, 0.0 if exact else 1.0
    share = part / n
    return share, *((share, share) if exact else wilson(share, n, z=AUDIT_Z))


def _time_order(spec: ModelSpec, evidence: Evidence) -> Iterator[AuditCheck]:
    """Checks, for each declared time, whether each split ends before the next one begins."""
    own = spec.split.column if spec.split.by == "time" else None
    for column in dict.fromkeys(name for name, _ in evidence.times):
        if own is not None and column != own:
            continue  # the split itself says which time orders the rows
        ends = {s: evidence.times[column, s] for s in SPLITS if (column, s) in evidence.times}
        extents = ", ".join(f"{s} {_time(a)[:10]} to {_time(b)[:10]}" for s, (a, b) in ends.items())
        numbers = {"column": column, "splits": {s: [_time(t) for t in e] for s, e in ends.items()}}
        overlap = _overlap(ends)
        if not overlap:
            sentence = f"by {column} the splits follow each other: {extents}"
            yield AuditCheck("time_order", "passed", sentence, numbers)
        elif own is not None:
            sentence = f"the splits overlap by their own time {column}: {extents}"
            yield AuditCheck("time_order", "finding", sentence, numbers)
        else:
            sentence = (
                f"the splits share their time by {column}, so training knows what comes after "
                f"{overlap} rows ({extents}); split by time if the model must predict the future"
            )
            yield AuditCheck("time_order", "note", sentence, numbers)


def _overlap(ends: dict[str, Extent]) -> str:
    """Returns the first split that begins before the previous one ends; empty if none does."""
    present = [s for s in SPLITS if s in ends]
    return next((b for a, b in pairwise(present) if ends[b][0] <= ends[a][1]), "")


def _time(micros: int) -> str:
    return str(np.datetime64(micros, "us"))[:19]


def _predictors(spec: ModelSpec, derived: Mapping[str, str], rows: DistinctSample) -> AuditCheck:
    """Checks whether one input alone predicts the label."""
    type_ = {**spec.columns, **derived}[spec.label]
    shares = single_input.explained_shares(spec.task, type_, spec.inputs, rows)
    where = _size_of(rows, "distinct row")
    if not shares:
        sentence = f"{spec.label} varies too little in {where} to say which input tells it"
        return AuditCheck("predictors", "note", sentence)
    numbers = {"explained": shares}
    measure = "removes {:.2%} of the errors of guessing"
    if spec.task == "regression":
        measure = "explains {:.2%} of the variance of its ranks"
    name, share = next(iter(shares.items()))
    limit = ALMOST_ALL[spec.task]
    if share < limit:
        sentence = (
            f"no input alone gives {spec.label} away: the best, {name}, {measure.format(share)}, "
            f"on {where}"
        )
        return AuditCheck("predictors", "passed", sentence, numbers)
    leaks = [f"{n} {measure.format(s)}" for n, s in shares.items() if s >= limit]
    sentence = (
        f"one input alone gives {spec.label} away: {', '.join(leaks)}, on {where}; is it known "
        f"when the prediction is made?"
    )
    return AuditCheck("predictors", "finding", sentence, numbers)


def _sizes(split: HashSplit, summary: Summary, keys: DistinctSample) -> Iterator[AuditCheck]:
    """Checks whether the splits have the requested sizes, as far as chance allows.

    The split draws keys, not rows, so there are as many draws as keys. If keys have different
    numbers of rows w, they are worth only (sum w)^2 / sum w^2 draws (Kish 1965, "Survey Sampling").
    The share of the keys is tested by the exact binomial tail, the share of the rows by the normal
    tail for the effective draws; the smaller chance counts.
    """
    sizes = keys.counts.sum(axis=1).astype(float)
    draws = keys.distinct * float(sizes.mean() ** 2 / np.mean(sizes**2))
    n_sampled = len(keys.keys)
    n_rows = sum(summary.rows[s] for s in SPLITS)
    parts, deviations = [], []
    for name, in_split in zip(SPLITS, keys.counts.T, strict=True):
        requested = float(getattr(split, name))
        n_keys, share = int(np.sum(in_split > 0)), summary.rows[name] / n_rows
        z = abs(share - requested) / math.sqrt(requested * (1 - requested) / draws)
        chance = min(_two_sided(n_keys, n_sampled, requested), math.erfc(z / math.sqrt(2)))
        parts.append({"split": name, "asked": requested, "rows": share, "keys": n_keys / n_sampled})
        parts[-1]["chance"] = chance
        if chance < CHANCE:
            deviations.append(
                f"{name} has {n_keys / n_sampled:.1%} of the keys and {share:.1%} of the rows"
            )
            deviations[-1] += f", requested {requested:.1%} (chance {chance:.0e})"
    numbers = {"keys": keys.distinct, "effective_draws": draws, "splits": parts}
    shares = ", ".join(f"{p['split']} {p['rows']:.1%} (requested {p['asked']:.1%})" for p in parts)
    where = f"{counted(keys.distinct, 'key')}, worth {counted(round(draws), 'draw')}"
    if deviations:
        far_off = "; ".join(deviations)
        sentence = f"split sizes differ from the request beyond chance ({where}): {far_off}"
        yield AuditCheck("sizes", "finding", sentence, numbers)
    elif draws < FEW_DRAWS:
        sentence = f"the sizes are mostly luck, as there are only {where}: {shares}"
        yield AuditCheck("sizes", "note", sentence, numbers)
    else:
        sentence = (
            f"the splits have the requested sizes, as far as chance allows ({where}): {shares}"
        )
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
    """Returns ln of the probability of k hits in n draws; lgamma(n + 1) is ln n! and finite."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)
