from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.preprocess.checks import audit
from quatrain.components.preprocess.dictionary import encode
from quatrain.components.preprocess.splitting import assign
from quatrain.components.preprocess.summary.evidence import Evidence
from quatrain.components.preprocess.summary.summary import Summary
from quatrain.components.specification.schema import ModelSpec
from quatrain.trainer.features.statistics import TableStatistics
from quatrain.validation.load import validate

TYPES = {"int": pa.int64(), "float": pa.float64(), "string": pa.string(), "date": pa.date32()}
COLUMNS = {"id": "int", "x": "float", "kind": "string", "y": "int"}
HASH = {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2}


def spec_of(columns: dict[str, str], **changes: Any) -> ModelSpec:
    return validate(
        {
            "name": "t",
            "source": {"uri": "t.csv"},
            "columns": columns,
            "label": "y",
            "task": "binary",
            "split": HASH,
            "features": [
                {"name": n, "from": n, "transform": t}
                for n, t in (("x", "standardize"), ("kind", "vocabulary"))
                if n in columns
            ],
            **changes,
        }
    )


def evidence_of(spec: ModelSpec, batch: pa.RecordBatch, side: np.ndarray) -> Evidence:
    """The evidence of a batch whose rows are in these splits."""
    order = pa.array(np.argsort(side, kind="stable"))
    predictors = [*(i.name for i in spec.inputs), spec.label]
    sizes = np.bincount(side, minlength=3)
    return Evidence.of(encode(batch.take(order)), sizes, spec.columns, predictors, spec.split)


def audited(
    spec: ModelSpec, rows: dict[str, Any], split: np.ndarray | None = None, cuts: int = 3
) -> dict[str, dict[str, Any]]:
    """The checks of a table by name; the split is the spec's unless another is passed."""
    columns = [pa.array(list(rows[n]), TYPES[t]) for n, t in spec.columns.items()]
    batch = pa.record_batch(columns, names=list(spec.columns))
    side = assign(spec.split, batch) if split is None else np.asarray(split, np.int8)
    evidence = Evidence()
    for at in np.array_split(np.arange(batch.num_rows), cuts):
        evidence += evidence_of(spec, batch.take(pa.array(at)), side[at])
    splits = {
        s: TableStatistics(int(np.sum(side == i)))
        for i, s in enumerate(("train", "validation", "test"))
    }
    summary = Summary(batch.num_rows, {}, splits, None, evidence)
    return {c["check"]: c for c in audit.document(spec, {}, summary)}


def plain(n: int, seed: int = 0) -> dict[str, Any]:
    """Faultless rows: a noisy label, no copies."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, n)
    y = (x + rng.normal(0, 1, n) > 0).astype(int)
    return {"id": np.arange(n), "x": x, "kind": rng.choice(["a", "b"], n), "y": y}


def test_a_plain_table_passes_every_check() -> None:
    checks = audited(spec_of(COLUMNS), plain(2000))
    assert {c: v["verdict"] for c, v in checks.items()} == dict.fromkeys(
        ("keys", "identical_rows", "predictors", "sizes"), "passed"
    )
    assert "the best, x, removes" in checks["predictors"]["sentence"]
    assert checks["identical_rows"]["sentence"] == (
        "no two splits share a row "
        "(2,000 distinct rows, compared in the 3 declared columns other than id)"
    )


def test_rows_copied_into_the_test_split_are_a_finding_with_their_share() -> None:
    rows = plain(1000)
    # 500 train rows, 100 validation, and 400 test rows of which 40 are copies of train rows.
    twice = {n: np.concatenate([v[:960], v[:40]]) for n, v in rows.items()}
    split = np.repeat([0, 1, 2], [500, 100, 400])
    by = {"by": "column", "column": "kind"}
    check = audited(spec_of(COLUMNS, split=by), twice, split)["identical_rows"]
    assert check["verdict"] == "finding"
    assert check["sentence"].startswith("10.00% of the distinct test rows stand in train too")
    pair = next(p for p in check["numbers"]["pairs"] if p["repeated"])
    assert (pair["rows_of"], pair["also_in"]) == ("test", "train")
    assert (pair["distinct"], pair["repeated"]) == (400, 40)


def test_a_copy_under_another_key_stands_in_two_splits_by_hash() -> None:
    rows = plain(1000)
    twice = {n: np.concatenate([v, v[:500]]) for n, v in rows.items()}
    twice["id"] = np.arange(1500)
    check = audited(spec_of(COLUMNS), twice)["identical_rows"]
    assert check["verdict"] == "finding"
    assert check["sentence"].endswith("in the 3 declared columns other than id: they may be copies")


def test_rows_of_two_keys_that_have_several_rows_each_are_no_copies() -> None:
    rows = plain(1000)
    alike = {n: np.concatenate([v, v[:500]]) for n, v in rows.items()}
    alike["id"] = np.arange(1500) // 3
    check = audited(spec_of(COLUMNS), alike)["identical_rows"]
    assert check["verdict"] == "note"
    assert check["sentence"].endswith("other than id: they differ in id, so they are not copies")


def test_columns_that_do_not_tell_rows_apart_are_a_note() -> None:
    rows = {**plain(1000), "x": np.zeros(1000)}
    check = audited(spec_of(COLUMNS), rows)["identical_rows"]
    assert check["verdict"] == "note"
    assert check["sentence"].startswith("100.00% of the distinct")
    assert check["sentence"].endswith("these columns do not tell rows apart")


def test_keys_that_are_inputs_tell_rows_apart() -> None:
    # 1000 rows of 5 kinds and 2 labels: without x and kind, nearly all would be copies.
    split = {**HASH, "keys": ["id", "x", "kind"]}
    check = audited(spec_of(COLUMNS, split=split), plain(1000))["identical_rows"]
    assert check["verdict"] == "passed"
    assert "in the 3 declared columns other than id" in check["sentence"]
    no_id = {n: t for n, t in COLUMNS.items() if n != "id"}
    rows = {n: v for n, v in plain(1000).items() if n != "id"}
    check = audited(spec_of(no_id, split={**HASH, "keys": ["x", "kind"]}), rows)["identical_rows"]
    assert check["verdict"] == "passed"
    assert "in all 3 declared columns" in check["sentence"]


def test_the_share_of_copies_in_a_large_table_lies_in_its_interval() -> None:
    rows = plain(40_000)
    twice = {n: np.concatenate([v, v[:1000]]) for n, v in rows.items()}
    split = np.repeat([0, 2, 2], [30_000, 10_000, 1_000])
    by = {"by": "column", "column": "kind"}
    check = audited(spec_of(COLUMNS, split=by), twice, split)["identical_rows"]
    pair = next(p for p in check["numbers"]["pairs"] if p["repeated"])
    assert not check["numbers"]["exact"]
    assert pair["low"] <= 1_000 / 11_000 <= pair["high"]
    assert pair["high"] - pair["low"] < 0.04
    assert check["verdict"] == "finding"


def test_a_key_in_two_splits_is_a_finding() -> None:
    rows = plain(300)
    rows["id"] = np.arange(300) // 3
    split = np.zeros(300, int)
    split[[0, 30]] = 2
    check = audited(spec_of(COLUMNS), rows, split)["keys"]
    assert check["verdict"] == "finding"
    assert check["sentence"] == "2 keys stand in two splits, of 100 distinct keys (id)"


@pytest.mark.parametrize("kind", ["number", "category"])
def test_an_input_that_is_the_label_in_other_words_is_a_finding(kind: str) -> None:
    rows = plain(3000)
    if kind == "number":
        rows["x"] = np.where(rows["y"] == 1, 100.0, -7.0) + rows["x"]
    else:
        rows["kind"] = np.where(rows["y"] == 1, "late", "in time")
    check = audited(spec_of(COLUMNS), rows)["predictors"]
    assert check["verdict"] == "finding"
    name = "x" if kind == "number" else "kind"
    assert f"gives y away: {name} removes 100.00% of the errors of guessing" in check["sentence"]
    assert next(iter(check["numbers"]["explained"])) == name


def test_a_threshold_gives_even_a_rare_class_away() -> None:
    verdicts = []
    for seed in range(8):  # the sample has 94 of the class: an unlucky one explains 93 % of it
        rows = plain(8000, seed)
        rows["y"] = (rows["x"] > 2.0).astype(int)  # 2.3 % of the rows
        verdicts.append(audited(spec_of(COLUMNS), rows)["predictors"]["verdict"])
    assert verdicts.count("finding") >= 7


def test_an_identifier_does_not_tell_the_label() -> None:
    rows = plain(3000)
    rows["kind"] = [f"k{i}" for i in range(3000)]
    check = audited(spec_of(COLUMNS), rows)["predictors"]
    assert check["verdict"] == "passed"
    assert check["numbers"]["explained"]["kind"] == 0.0


@pytest.mark.parametrize(("noise", "verdict"), [(0.0, "finding"), (1.0, "passed")])
def test_a_regression_is_given_away_by_any_rising_function_of_its_label(
    noise: float, verdict: str
) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(0, 1, 4000)
    rows = {**plain(4000), "x": np.exp(3 * (y + noise * rng.normal(0, 1, 4000))), "y": y}
    spec = spec_of({**COLUMNS, "y": "float"}, task="regression")
    assert audited(spec, rows)["predictors"]["verdict"] == verdict


def test_a_label_of_few_positives_cannot_be_judged() -> None:
    rows = {**plain(1000), "y": (np.arange(1000) < 9).astype(int)}
    check = audited(spec_of(COLUMNS), rows)["predictors"]
    assert check["verdict"] == "note"
    assert check["sentence"].startswith("y varies too little")


DAYS = [datetime.date(1970, 1, 1) + datetime.timedelta(i) for i in range(365)]
DATED = {**COLUMNS, "day": "date"}
BY_TIME = {
    "by": "time",
    "column": "day",
    "validation_from": "1970-07-01",
    "test_from": "1970-10-01",
}


def test_a_split_by_time_follows_the_time() -> None:
    rows = {**plain(365), "day": DAYS}
    checks = audited(spec_of(DATED, split=BY_TIME), rows)
    assert checks["time_order"]["verdict"] == "passed"
    assert "train 1970-01-01 to 1970-06-30" in checks["time_order"]["sentence"]
    assert "keys" not in checks
    assert "sizes" not in checks


def test_a_split_by_time_that_overlaps_is_a_finding() -> None:
    rows = {**plain(365), "day": DAYS}
    split = np.repeat([0, 1, 2], [200, 100, 65])
    split[:3] = 2
    check = audited(spec_of(DATED, split=BY_TIME), rows, split)["time_order"]
    assert check["verdict"] == "finding"
    assert "overlap by their own time day" in check["sentence"]


def test_a_split_by_hash_of_dated_rows_is_a_note() -> None:
    rows = {**plain(365), "day": DAYS}
    check = audited(spec_of(DATED), rows)["time_order"]
    assert check["verdict"] == "note"
    assert "training knows what comes after validation rows" in check["sentence"]


def test_sizes_beyond_chance_are_a_finding_with_the_chance() -> None:
    rows = plain(1000)
    split = np.repeat([0, 1, 2], [600, 300, 100])  # the spec has 60, 20 and 20 %
    check = audited(spec_of(COLUMNS), rows, split)["sizes"]
    assert check["verdict"] == "finding"
    assert (
        "validation has 30.0% of the keys and 30.0% of the rows, requested 20.0%"
        in check["sentence"]
    )
    assert "train has" not in check["sentence"]


def test_few_keys_of_unlike_sizes_make_the_sizes_luck() -> None:
    # Four keys of 1, 1, 1 and 97 rows: (100)^2 / (97^2 + 3) = 1.06 draws.
    rows = plain(100)
    rows["id"] = np.repeat([0, 1, 2, 3], [1, 1, 1, 97])
    split = np.repeat([0, 1, 2, 0], [1, 1, 1, 97])
    check = audited(spec_of(COLUMNS), rows, split)["sizes"]
    assert check["verdict"] == "note"
    assert "4 keys, worth 1 draw" in check["sentence"]
    assert check["numbers"]["effective_draws"] == pytest.approx(1.0625, abs=1e-3)


def test_the_binomial_tail_is_that_of_the_textbook() -> None:
    # 8 or more heads of 10: (45 + 10 + 1) / 1024, twice.
    assert audit._two_sided(8, 10, 0.5) == pytest.approx(2 * 56 / 1024)


def test_any_cut_of_the_rows_gives_the_same_audit() -> None:
    rows, spec = plain(20_000), spec_of(COLUMNS)
    assert audited(spec, rows, cuts=1) == audited(spec, rows, cuts=7)


def test_a_stratified_key_is_drawn_with_its_class_and_may_be_derived() -> None:
    split = {**HASH, "keys": ["half"], "stratify": "y"}
    spec = spec_of(COLUMNS, split=split, clean={"derive": {"half": "id // 2"}})
    n = 4000
    rows = {"id": range(n), "x": np.arange(n) * 0.5, "kind": ["a"] * n, "y": np.arange(n) % 2}
    columns = [pa.array(list(rows[c]), TYPES[t]) for c, t in spec.columns.items()]
    half = pa.array(np.arange(n) // 2)
    batch = pa.record_batch([*columns, half], names=[*spec.columns, "half"])
    side = assign(spec.split, batch)
    evidence = evidence_of(spec, batch, side)
    splits = {
        s: TableStatistics(int(np.sum(side == i)))
        for i, s in enumerate(("train", "validation", "test"))
    }
    summary = Summary(n, {}, splits, None, evidence)
    checks = {c["check"]: c for c in audit.document(spec, {"half": "int"}, summary)}
    assert checks["keys"]["sentence"].endswith("of 4,000 distinct keys (y, half)")
    assert (checks["keys"]["verdict"], checks["sizes"]["verdict"]) == ("passed", "passed")
