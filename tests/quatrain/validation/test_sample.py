"""`quatrain check`: the problems that a sample shows before a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import ModelSpec
from quatrain.face.specs import read_spec
from quatrain.validation.sample import check

Make = Callable[..., ModelSpec]
HEADER = "day,delay,carrier,arrival,weight\n"


def test_a_spec_that_suits_its_data_has_no_findings(delays_spec: Make) -> None:
    assert check(delays_spec()).problems == []


def test_wrong_rules_and_a_missing_column_are_found_together(delays_spec: Make) -> None:
    clean = {"reject": {"a": "dely > 1"}, "derive": {"late": "arrival >= 15", "b": "sum(day)"}}
    findings = check(delays_spec("day,delay,carrier,arrival\n1,1,A,1\n", clean=clean)).problems
    assert [f.split(":")[0].split("/")[-1] for f in findings] == [
        "clean.reject.a",
        "clean.derive.b",
        "delays.csv",
    ]
    assert "there is no column 'dely'; did you mean 'delay'?" in findings[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": "arrival"}, "label: 'arrival' is float; a binary model takes bool or int"),
        ({"weight": "carrier"}, "weight: 'carrier' is string; a weight is a number"),
        ({"split": {"by": "column", "column": "day"}}, "split.column: 'day' is int, not a string"),
        (
            {"split": {"by": "time", "column": "day", "validation_from": "a", "test_from": "b"}},
            "split.column: 'day' is int, not a time",
        ),
        (
            {
                "columns": {"carrier": "string", "day": "date", "arrival": "float", "delay": "int"},
                "split": {
                    "by": "time",
                    "column": "day",
                    "validation_from": "2021-01-01",
                    "test_from": "2020-01-01",
                },
            },
            "split: validation_from 2021-01-01 is not before test_from 2020-01-01",
        ),
        (
            {"features": [{"name": "x", "from": "arrival", "transform": "log"}]},
            "features[0]: the label (late: arrival >= 15) is made of nothing but 'arrival'",
        ),
    ],
)
def test_types_that_do_not_suit_their_use_are_found(
    delays_spec: Make, changes: dict[str, Any], sentence: str
) -> None:
    assert any(sentence in finding for finding in check(delays_spec(**changes)).problems)


def test_a_label_that_is_made_of_more_than_the_features_may_be_learned(delays_spec: Make) -> None:
    clean = {"derive": {"late": "arrival - delay >= 4"}, "reject": {"c": "delay IS NULL"}}
    assert check(delays_spec(clean=clean)).problems == []


def test_values_that_do_not_convert_are_found_with_their_share(delays_spec: Make) -> None:
    rows = "".join(f"{i},{i}.5,A,{i},1\n" for i in range(50))
    [finding] = check(delays_spec(HEADER + rows)).problems
    assert finding.startswith("in a sample of 50 rows: 50 of 50 rows (100.0%) were rejected")
    assert "bad_value: 50 rows (delay: '0.5' is not an int), as: 0,0.5,A,0,1" in finding


def test_a_label_of_one_class_and_a_missing_column_are_found(delays_spec: Make) -> None:
    rows = "".join(f"{i},,A,1,1\n" for i in range(50))
    findings = check(
        delays_spec(HEADER + rows, clean={"derive": {"late": "arrival >= 15"}})
    ).problems
    assert findings[0].startswith(
        "the label 'late' has one class in a sample of 50 rows, 'false' in 50 rows"
    )
    assert findings[1].startswith("column 'delay' is missing in all 50 rows in a sample")


def test_a_split_that_a_small_table_leaves_empty_is_found(delays_spec: Make) -> None:
    rows = "".join(f"{i},{i},{'AB'[i % 2]},{i % 30},1\n" for i in range(50))
    by = {"by": "fold", "column": "day", "validation": "7", "test": "99"}
    [finding] = check(delays_spec(HEADER + rows, split=by)).problems
    assert finding.startswith("the test split has no rows (train 49, validation 1, test 0)")


def test_a_split_that_a_sample_leaves_empty_is_a_warning(delays_spec: Make) -> None:
    rows = "".join(f"{i},{i},{'AB'[i % 2]},{i % 30},1\n" for i in range(2000))
    by = {"by": "fold", "column": "day", "validation": "7", "test": "9999"}
    # Places of 400 bytes, so that a few lines are many ranges.
    result = check(delays_spec(HEADER + rows, split=by), sample_bytes=400)
    assert result.problems == []
    assert any("falls to test; a run stops where none does" in w for w in result.warnings)


def test_a_part_of_a_range_is_not_taken_for_all_rows(delays_spec: Make, tmp_path: Path) -> None:
    n = 70_000  # more than one block, of one row group, which is no more than one range
    columns = {"day": range(n), "delay": range(n), "carrier": ["A", "B"] * (n // 2)}
    columns |= {"arrival": [float(i % 30) for i in range(n)], "weight": [1.0] * n}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    source = {"uri": str(tmp_path / "t.parquet"), "format": "parquet"}
    by = {"by": "fold", "column": "day", "validation": "7", "test": str(n - 1)}
    result = check(delays_spec(source=source, split=by))
    assert result.problems == []
    assert any("falls to test; a run stops where none does" in w for w in result.warnings)


def test_a_file_without_rows_is_found(delays_spec: Make) -> None:
    [finding] = check(delays_spec(HEADER)).problems
    assert finding.endswith("delays.csv: there are no rows, only headers")


def test_a_spec_of_5000_columns_is_checked(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(5_000)]
    rows = [",".join([str(i), *[f"0.{(i + j) % 7}" for j in range(5_000)]]) for i in range(40)]
    lines = [f"id,{','.join(names)},y", *(f"{row},{i % 3 == 0}" for i, row in enumerate(rows))]
    (tmp_path / "wide.csv").write_text("\n".join([*lines, ""]))
    document = {
        "name": "wide",
        "source": "wide.csv",
        "columns": {"id": "int", **dict.fromkeys(names, "float"), "y": "bool"},
        "label": "y",
        "task": "binary",
        "split": {"keys": "id", "train": 0.5, "validation": 0.25, "test": 0.25},
        "features": [{"name": f"f_{n}", "from": n, "transform": "standardize"} for n in names],
    }
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    spec = read_spec(tmp_path / "wide.yaml").spec
    assert check(spec).problems == []
    assert len(spec.inputs) == 5_000


def test_problems_of_the_split_and_the_file_are_reported_beside_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y,day\n1,a,2024-01-01\n")
    times = {"validation_from": "2024-02-01", "test_from": "2024-01-01"}
    document = {
        "name": "t",
        "source": "t.csv",
        "columns": {"x": "float", "y": "string", "day": "timestamp", "xx": "float"},
        "label": "y",
        "task": "binary",
        "split": {"by": "time", "column": "day", **times},
        "features": [{"name": "x", "from": "x", "transform": "logg"}],
    }
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(SpecError) as refused:
        read_spec(tmp_path / "t.yaml")
    assert str(refused.value).splitlines() == [
        "t.yaml: features[0].transform: unknown transform 'logg'; did you mean 'log'?",
        "t.yaml: split: validation_from 2024-02-01 is not before test_from 2024-01-01; "
        "validation lies between train and test",
        "t.yaml: columns.xx: the source has no such column; did you mean 'x'?",
    ]


def test_class_weights_of_no_class_are_found_where_all_rows_are_read(delays_spec: Make) -> None:
    spec = delays_spec(train={"class_weights": {"True": 5, "false": 2}})
    sentence = "train.class_weights.True: the label 'late' has no such class; did you mean 'true'?"
    assert check(spec).problems == [sentence]
    assert check(spec, sample_bytes=200).problems == []  # other rows may have it
