"""Duplicates: one row of each key stays, the same one for any cut, order and runner."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from quatrain.components.errors import DataError, SourceError, SpecError
from quatrain.components.preprocess import pipeline
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.duplicates import keys_of, losers_of
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.kept_rows import read_kept_rows
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.split import SPLITS
from quatrain.components.table.ranges import plan_ranges

Make = Callable[..., ModelSpec]
HEADER = "day,delay,carrier,arrival,weight\n"


def rows_of(copies: int) -> str:
    """60 days in this many rounds; a later round has a larger weight, but for day 7."""
    lines = [
        f"{day},{day},{'AB'[day % 2]},{day % 30},{1 if day == 7 else 1 + n}\n"
        for n in range(copies)
        for day in range(60)
    ]
    return HEADER + "".join(lines)


def losers(spec: ModelSpec, range_bytes: int | None, *, backwards: bool = False) -> list[int]:
    """Where the duplicates stand, worked out without Beam."""
    ranges = plan_ranges(spec.source, spec.columns, range_bytes)
    job = PreprocessJob(spec, rules_of(spec), Folder(""), len(ranges))
    parts, cleaner = dict[int, list[bytes]](), Cleaner(job.rules)
    for span in reversed(ranges) if backwards else ranges:
        for part, packed in keys_of(job, span, cleaner):
            parts.setdefault(part, []).append(packed)
    rule = spec.clean.deduplicate
    assert rule is not None
    return sorted(p for part in parts.values() for _, at in losers_of(rule, part) for p in at)


def of(spec: ModelSpec, out: Path, **options: Any) -> dict[str, Any]:
    preprocess(spec.as_json(), runner="local", out=str(out), **options)
    return json.loads((out / "manifest.json").read_text())


def cleaned(rule: dict[str, Any]) -> dict[str, Any]:
    return {"clean": {"derive": {"late": "arrival >= 15"}, "deduplicate": rule}}


def test_the_newest_row_stays_and_of_equal_ones_the_first(delays_spec: Make) -> None:
    data = HEADER + "1,1,A,1,2\n1,2,A,1,3\n1,3,A,1,3\n1,4,B,1,0\n1,5,A,1,\n2,6,,1,\n2,7,,1,1\n"
    rule = {"keys": ["day", "carrier"], "keep_newest_by": "weight"}
    spec = delays_spec(data, **cleaned(rule))
    at = [len(HEADER) + 10 * i for i in range(5)]
    at += [at[4] + 9]
    # 1A: weight 3 first stands at 1; 0, 2 and 4 (missing, so oldest) lose. 2 without: 1 beats none.
    assert losers(spec, None) == [at[0], at[2], at[4], at[5]]
    spec = delays_spec(data, **cleaned({"keys": ["day", "carrier"]}))
    assert losers(spec, None) == [at[1], at[2], at[4], at[5] + 8]


def test_rows_without_any_key_are_no_duplicates(delays_spec: Make) -> None:
    data = HEADER + ",1,,1,1\n" * 3 + "1,1,,1,1\n" * 2
    spec = delays_spec(data, **cleaned({"keys": ["day", "carrier"]}))
    assert losers(spec, None) == [len(HEADER) + 3 * 8 + 9]


def test_rejected_rows_are_no_rivals(delays_spec: Make) -> None:
    rule = {"keys": "day", "keep_newest_by": "weight"}
    clean = {**cleaned(rule)["clean"], "reject": {"cancelled": "delay IS NULL"}}
    spec = delays_spec(HEADER + "1,1,A,1,1\n1,,A,1,2\n1,x,A,1,3\n", clean=clean)
    assert losers(spec, None) == []


@pytest.mark.parametrize("range_bytes", [37, 500, None])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_same_rows_lose_for_any_cut_and_order(
    delays_spec: Make, range_bytes: int | None, backwards: bool
) -> None:
    rule = {"keys": ["day", "carrier"], "keep_newest_by": "weight"}
    data = rows_of(3)
    dropped = losers(delays_spec(data, **cleaned(rule)), range_bytes, backwards=backwards)
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    winners = {1 + 2 * 60 + day for day in range(60)} - {1 + 2 * 60 + 7} | {1 + 7}
    assert dropped == [starts[i] for i in range(1, 181) if i not in winners]


def test_a_run_keeps_one_row_a_key_and_rejects_the_others_as_they_were_read(
    delays_spec: Make, tmp_path: Path
) -> None:
    rule = {"keys": ["day", "carrier"], "keep_newest_by": "weight"}
    spec = delays_spec(rows_of(3), **cleaned(rule), evaluate={"slices": ["day", "weight"]})
    manifest = of(spec, tmp_path / "a", range_bytes=500)
    assert manifest["reasons"] == {"duplicate": {"rows": 120, "sample": "0,0,A,0,1"}}
    rows = manifest["rows"]
    assert rows["read"] == 180 and sum(rows[s] for s in SPLITS) == 60
    rejected = pa.concat_tables(
        [pq.read_table(p) for p in sorted((tmp_path / "a/rejected").iterdir())]
    )
    data = rows_of(3).encode()
    for row in rejected.to_pylist():
        assert data[row["position"] :].split(b"\n")[0] == row["row"]
    detail = "of the rows with its day, carrier, the newest by weight is kept"
    assert rejected.column("detail").unique().to_pylist() == [detail]
    test = pq.read_table(sorted((tmp_path / "a").glob("test-*"))).to_pylist()
    assert {r["raw_weight"] for r in test if r["raw_day"] != 7} == {3.0}
    same = of(
        spec,
        tmp_path / "b",
        range_bytes=500,
        runner_options={"direct_num_workers": 2, "direct_running_mode": "multi_threading"},
    )
    assert same == manifest


def test_duplicates_do_not_count_as_bad_rows_and_bad_rows_still_do(
    delays_spec: Make, tmp_path: Path
) -> None:
    data = rows_of(3) + "x,1,A,1,1\n" * 9
    with pytest.raises(DataError, match=r"^9 of 69 rows \(13\.0%\) were rejected") as stopped:
        of(delays_spec(data, **cleaned({"keys": "day"})), tmp_path / "a")
    assert "duplicate" not in str(stopped.value)


def test_a_range_that_cannot_be_read_stops_the_run_in_the_first_reading(
    delays_spec: Make, tmp_path: Path
) -> None:
    spec = delays_spec(
        clean={"derive": {"late": "arrival >= 15", "code": "carrier::INT"}, **_rule("day")}
    )
    with pytest.raises(DataError, match="an expression under `clean` failed"):
        of(spec, tmp_path / "a")


def _rule(key: str) -> dict[str, Any]:
    return {"deduplicate": {"keys": [key]}}


def test_a_pipeline_without_duplicate_keys_has_no_step_for_duplicates(delays_spec: Make) -> None:
    for rule, has_step in ((None, False), ({"keys": ["day"]}, True)):
        spec = delays_spec(**cleaned(rule)) if rule else delays_spec()
        job = PreprocessJob(spec, rules_of(spec), Folder(""), 1)
        steps = pipeline.make(job, [], FnApiRunner(), PipelineOptions([]), in_one_worker=True)
        assert any(label.startswith("Deduplicate") for label in steps.applied_labels) == has_step


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"keys": ["dya"]}, "clean.deduplicate.keys[0]: unknown column 'dya'; did you mean 'day'"),
        ({"keys": []}, "clean.deduplicate.keys: must hold at least one"),
        ({"key": ["day"]}, "clean.deduplicate.key: unknown key; did you mean 'keys'"),
        ({"keys": ["day"], "keep_newest_by": "x"}, "keep_newest_by: unknown column 'x'"),
        ({"keys": ["arrival"]}, "keys[0]: 'arrival' is float; a key is no measured number"),
        ({"keys": ["day"], "keep_newest_by": "carrier"}, "'carrier' is string, not timestamp"),
    ],
)
def test_a_wrong_rule_is_one_sentence(
    delays_spec: Make, tmp_path: Path, rule: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SpecError) as refused:
        of(delays_spec(**cleaned(rule)), tmp_path / "a")
    assert sentence in str(refused.value)


def test_a_dropped_row_that_is_gone_means_that_the_file_changed(delays_spec: Make) -> None:
    spec = delays_spec(rows_of(1), **cleaned({"keys": "day"}))
    [span] = plan_ranges(spec.source, spec.columns)
    cleaner = Cleaner(rules_of(spec))
    gone = replace(span, dropped=(Path(span.path).stat().st_size,))
    with pytest.raises(SourceError, match=r"delays\.csv changed while the run read it"):
        list(read_kept_rows(spec, gone, cleaner))
