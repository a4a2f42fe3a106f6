"""Rules and derived columns: what they do, and what they may not be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.errors import DataError, SpecError
from quatrain.components.preprocess.cleaning import Cleaner, Rules
from quatrain.components.preprocess.expressions import columns_used
from quatrain.components.table.block import Block, Fault, raw_bytes
from quatrain.components.table.values.bounds import TYPES

COLUMNS = {"dep": "int", "arr": "float", "name": "string", "t": "timestamp", "w": "float"}


def rules(
    reject: Mapping[str, str] | None = None,
    derive: Mapping[str, str] | None = None,
    label: str = "dep",
    weight: str | None = None,
) -> Rules:
    return Rules(COLUMNS, reject or {}, derive or {}, label, weight)


def block(**columns: list[Any]) -> Block:
    n = len(next(iter(columns.values())))
    batch = pa.record_batch(
        {c: pa.array(columns.get(c, [None] * n), TYPES[t]) for c, t in COLUMNS.items()}
    )
    rows = pa.array([f"row {i}".encode() for i in range(n)])
    return Block("t.csv", batch, pa.array(range(0, 10 * n, 10), pa.int64()), rows)


def reasons(cleaned: Block) -> list[tuple[int, str]]:
    rejected = cleaned.rejected
    return list(
        zip(
            rejected.column("position").to_pylist(),
            rejected.column("reason").to_pylist(),
            strict=True,
        )
    )


def test_the_first_true_rule_is_the_reason_and_null_is_not_true() -> None:
    cleaner = Cleaner(rules({"late": "arr > 10", "far": "arr > 5", "odd": "name = 'x'"}))
    cleaned = cleaner.clean(
        block(dep=[1] * 5, arr=[20, 7, 1, None, 2], name=["x", "y", "z", "x", None])
    ).without_faults()
    assert reasons(cleaned) == [(0, "late"), (10, "far"), (30, "odd")]
    assert cleaned.batch.column("arr").to_pylist() == [1, 2]
    assert cleaned.indices.tolist() == [2, 4]
    assert cleaned.rejected.column("row").to_pylist() == [b"row 0", b"row 1", b"row 3"]
    assert cleaned.rejected.column("detail")[1].as_py() == "arr > 5"


def test_derived_columns_stand_after_the_read_ones() -> None:
    cleaner = Cleaner(
        rules(derive={"is_late": "arr >= 15", "half": "dep / 2", "up": "upper(name)"})
    )
    cleaned = cleaner.clean(block(dep=[1, 4], arr=[15, None], name=["a", ""]))
    assert cleaned.batch.select(["is_late", "half", "up"]).to_pylist() == [
        {"is_late": True, "half": 0.5, "up": "A"},
        {"is_late": None, "half": 2.0, "up": None},
    ]


def test_derived_types_are_described_in_our_words() -> None:
    derive = {
        "b": "dep > 1", "i": "dep * 2", "h": "dep::HUGEINT", "f": "dep / 2",
        "c": "1.5::DECIMAL(4,2)", "s": "name || 'x'", "d": "t::DATE", "t": "date_trunc('hour', t)",
    }  # fmt: skip
    assert rules(derive=derive).derived == {
        "b": "bool", "i": "int", "h": "int", "f": "float", "c": "float",
        "s": "string", "d": "date", "t": "timestamp",
    }  # fmt: skip


def test_a_row_without_label_or_with_a_bad_weight_is_rejected() -> None:
    cleaned = Cleaner(rules(weight="w")).clean(block(dep=[None, 1, 2, 3], w=[1.0, None, -1.0, 0.0]))
    assert reasons(cleaned.without_faults()) == [
        (0, "label_missing"),
        (10, "weight_missing"),
        (20, "bad_weight"),
    ]


def test_a_label_or_weight_too_large_for_float32_is_rejected() -> None:
    cleaned = Cleaner(rules(label="arr", weight="w")).clean(block(arr=[1e39, 1.0], w=[1.0, 1e39]))
    assert reasons(cleaned.without_faults()) == [(0, "bad_label"), (10, "bad_weight")]


def test_a_derived_number_that_is_not_finite_rejects_its_row() -> None:
    cleaner = Cleaner(rules(derive={"r": "arr / w"}, label="r"))
    cleaned = cleaner.clean(block(arr=[1.0, 0.0, 4.0], w=[0.0, 0.0, 2.0])).without_faults()
    assert reasons(cleaned) == [(0, "bad_value"), (10, "label_missing")]
    assert cleaned.batch.column("r").to_pylist() == [2.0]


def test_an_expression_that_fails_on_a_value_says_how_to_be_careful() -> None:
    cleaner = Cleaner(rules({"r": "name::INT > 1"}))
    with pytest.raises(DataError, match=r"t\.csv: an expression under `clean` failed .*TRY_CAST"):
        cleaner.clean(block(dep=[1], name=["x"]))


def test_an_expression_may_fail_on_a_row_that_is_faulty_already() -> None:
    cleaner = Cleaner(rules({"r": "name::INT > 1"}))
    faulty = block(dep=[1, 1, 1], name=["x", "2", "1"]).with_faults(
        [Fault(np.array([0]), "bad_value")]
    )
    cleaned = cleaner.clean(faulty).without_faults()
    assert reasons(cleaned) == [(0, "bad_value"), (10, "r")]
    assert cleaned.batch.column("name").to_pylist() == ["1"]
    assert cleaned.indices.tolist() == [2]


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("dpe IS NULL", "there is no column 'dpe'; did you mean 'dep'?"),
        ("dep >> ", "syntax error"),
        ("", "without selection list"),
        ("dep", "it is int; a rule is true or false"),
        ("sum(dep) > 1", "it calls sum(), which is not a function of a value"),
        ("(SELECT 1) = 1", "it holds a subquery"),
        ("row_number() OVER () > 1", "it holds a window function"),
        ("unnest([1, 2]) > 1", "it calls unnest()"),
        ("COLUMNS(*) > 1", "it holds a star"),
        ("random() < 0.5", "it calls random(), whose answer changes"),
        ("t > now()", "it calls now(), whose answer changes"),
        ("t > current_date", "it holds current_date, whose answer changes"),
        ("t < ago(INTERVAL 9000 DAY)", "it calls ago(), whose answer changes from run to run"),
        ("t < AGO(INTERVAL 9000 DAY)", "it calls ago(), whose answer changes"),
        ("t < main.ago(INTERVAL 9000 DAY)", "it calls ago(), whose answer changes"),
        ("age(t) > INTERVAL 1 DAY", "it calls age() of one time, whose answer changes"),
        ("pg_sleep(1) IS NULL", "it calls pg_sleep(), whose answer changes"),
        ("sleep_ms(1) IS NULL", "it calls sleep_ms(), whose answer changes"),
        ("t > current_localtimestamp()", "it calls current_localtimestamp(), whose answer"),
        ("t > pg_conf_load_time()", "it calls pg_conf_load_time(), whose answer changes"),
        ("t > pg_postmaster_start_time()", "it calls pg_postmaster_start_time(), whose"),
        ("t > localtimestamp", "it holds localtimestamp, whose answer changes"),
        ("current_setting('threads') = '1'", "it calls current_setting(), whose answer"),
        ("current_catalog() = 'x'", "it calls current_catalog(), whose answer changes"),
        ("version() = 'x'", "it calls version(), whose answer changes"),
        ("has_table_privilege('x', 'y')", "it calls has_table_privilege(), whose answer"),
        ("get_block_size('x') > 1", "it calls get_block_size(), whose answer changes"),
        ("uuidv7() IS NULL", "it calls uuidv7(), whose answer changes"),
        ("dep > 1 AS x", "it names its result"),
        ("true FROM source_rows", "more than one expression"),
        ("true UNION SELECT false", "more than one expression"),
        ("true; DROP TABLE x", "more than one statement"),
        ("1) FROM x; ATTACH 'a' --", "syntax error"),
        ("exists(FROM read_csv('/etc/passwd'))", "it holds a subquery"),
        ("read_text('/etc/passwd') = ''", "it calls read_text()"),
        ("$secret = 1", "it holds a parameter"),
    ],
)
def test_a_rule_that_is_no_expression_over_one_row_is_refused(sql: str, sentence: str) -> None:
    [problem] = rules({"bad": sql}).problems
    assert problem.startswith("clean.reject.bad: ")
    assert sentence in problem


@pytest.mark.parametrize(
    "sql",
    [
        "age(t, TIMESTAMP '2014-05-12') > INTERVAL 1 DAY",
        "split_part('a,b', ',', dep) = 'b'",
        "days_in_month(t) = 31",
        "list_sum([dep, 1]) > 2",
        "nullif(dep, 1) IS NULL",
        "pg_typeof(dep) = 'bigint'",
        "time_bucket(INTERVAL 1 DAY, t) = t",
        "log(dep) > 1",
    ],
)
def test_functions_of_the_row_alone_stay(sql: str) -> None:
    assert not rules({"good": sql}).problems


@pytest.mark.parametrize(
    "statement",
    ["COPY source_rows TO '{path}'", "ATTACH '{path}'", "SELECT * FROM read_csv('{path}')"],
)
def test_the_connection_of_a_worker_reaches_no_file(tmp_path: Path, statement: str) -> None:
    import duckdb

    from quatrain.components.table.sql import connect

    path = tmp_path / "x.csv"
    connection = connect()
    connection.register("source_rows", pa.table({"a": [1]}))
    with pytest.raises(duckdb.PermissionException):
        connection.execute(statement.format(path=path))
    with pytest.raises(duckdb.Error):
        connection.execute("SET enable_external_access=true")
    assert not path.exists()


def test_a_timestamp_with_a_zone_means_the_same_on_every_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    noon = rules({"noon": "t = '2020-01-01 12:00:00+00'::timestamptz"})
    cleaned = Cleaner(noon).clean(block(dep=[1], t=[datetime(2020, 1, 1, 12)])).without_faults()
    zoned = pa.array([{"t": 0}], pa.struct([("t", pa.timestamp("us", "UTC"))]))
    text = raw_bytes(zoned).to_pylist()
    monkeypatch.undo()
    time.tzset()
    assert reasons(cleaned) == [(0, "noon")]
    assert text == [b'{"t":"1970-01-01 00:00:00+00"}']


def test_all_wrong_expressions_are_reported_at_once() -> None:
    with pytest.raises(SpecError, match=r"(?s)clean\.reject\.a: .*\nclean\.derive\.b: "):
        _ = rules({"a": "x > 1"}, {"b": "y"}).derived


def test_a_comment_at_the_end_does_no_harm() -> None:
    cleaner = Cleaner(rules({"r": "dep > 1 -- too many"}))
    assert reasons(cleaner.clean(block(dep=[1, 2])).without_faults()) == [(10, "r")]


def test_columns_of_an_expression_have_the_spelling_of_the_table() -> None:
    assert columns_used("ARR >= 15 AND lower(source_rows.name) = 'dep'", COLUMNS) == {"arr", "name"}
