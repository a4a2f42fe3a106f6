"""`quatrain init`: the spec that it writes suits the table, or a sentence says why not."""

from __future__ import annotations

import datetime
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import QuatrainError, SpecError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.preprocess.splitting import assign
from quatrain.components.specification.split import HashSplit, TimeSplit
from quatrain.draft.propose import Proposal, propose
from quatrain.draft.target import plain
from quatrain.validation.load import load_spec
from quatrain.validation.sample import check

TABLES = Path(__file__).with_name("tables")
EXAMPLES = Path(__file__).parents[3] / "examples"
SAMPLES = [
    ("taxi.csv", "tips", "regression"),
    ("diamonds.csv", "price", "regression"),
    ("shuttle.csv.gz", "anomaly", "binary"),
    ("birdstrikes.csv", "Effect Amount of damage", "multiclass"),
    ("randhie.csv", "mdvis", "regression"),
    ("flights-3m.parquet", "delay", "regression"),
    ("flights.csv", "arr_delay", "regression"),
]


def months(n: int) -> list[str]:
    return [f"{1950 + i // 12}-{i % 12 + 1:02}-01" for i in range(n)]


def lines_of(proposal: Proposal, word: str) -> list[str]:
    return [line.strip() for line in proposal.path.read_text().splitlines() if word in line]


@pytest.mark.parametrize(("file", "target", "task"), SAMPLES)
def test_a_spec_is_written_for_a_sample_of_each_real_table(
    tmp_path: Path, file: str, target: str, task: str
) -> None:
    proposal = propose(str(TABLES / file), target, tmp_path / "t.yaml")
    assert (proposal.spec.label, proposal.spec.task) == (target, task)
    assert len(proposal.spec.features) >= 4


@pytest.mark.parametrize(("file", "target", "task"), SAMPLES)
def test_the_spec_of_each_example_suits_a_sample_of_its_table(
    file: str, target: str, task: str
) -> None:
    name = file.partition(".")[0]
    path = EXAMPLES / name / ("delay.yaml" if name == "flights" else f"{name}.yaml")
    spec = load_spec(path, [f"source.uri={TABLES / file}"])
    assert (spec.label, spec.task) == (target, task)
    assert check(spec).problems == []


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        propose(str(TABLES / "taxi.csv"), "tips", folder / "t.yaml")
        texts.append((folder / "t.yaml").read_bytes())
    assert texts[0] == texts[1]


def test_headers_of_any_letters_and_any_case_get_features(init, chance) -> None:
    size = [chance.random() for _ in range(300)]
    table = {
        "Größe (cm)": size,
        "城市": [chance.choice(["北京", "上海"]) for _ in size],
        "label": [chance.choice("ab") for _ in size],
        "raw_x": [chance.random() for _ in size],
        "2013": [chance.randint(0, 9) for _ in size],
        "null": [chance.choice(["groß", "klein"]) for s in size],
    }
    proposal = init(table, "null")
    assert proposal.spec.task == "binary"
    names = ["grosse_cm", "column_2", "label_", "c_raw_x", "c_2013"]
    assert [f.name for f in proposal.spec.features] == names


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Straße", "strasse"), ("Lønn Łódź", "lonn_lodz"), ("ÆØ № 5", "aeo_no_5"), ("城市", "")],
)
def test_letters_that_are_no_ascii_become_their_nearest_ascii(name, shown) -> None:
    assert plain(name) == shown


def test_equal_and_empty_names_are_left_out_with_the_reason(init, chance) -> None:
    rows = "".join(f"{i},{i % 3},{i % 7},{chance.random()},{i % 2}\n" for i in range(200))
    proposal = init(f",a,a,b,y\n{rows}", "y")
    assert list(proposal.spec.columns) == ["b", "y"]
    assert "left out: 2 columns have this name" in lines_of(proposal, "# a: string")[0]


def test_a_class_of_two_rows_has_a_remark_and_is_in_train(init, chance) -> None:
    y = [chance.choice(["lo", "hi"]) for _ in range(200)]
    y[:60] = ["mid"] * 60
    y[10] = y[20] = "rare"
    proposal = init({"x": [chance.random() for _ in y], "y": y}, "y")
    assert proposal.spec.task == "multiclass"
    assert "'rare' (2)" in lines_of(proposal, "too rare")[0]


def test_classes_that_train_lacks_are_rejected_by_a_rule(init, chance, tmp_path) -> None:
    y = [chance.choice(["lo", "hi", "mid"]) for _ in range(400)]
    y[:40] = [f"rare {i}'s" for i in range(40)]
    proposal = init({"x": [chance.random() for _ in y], "y": y}, "y")
    rule = proposal.spec.clean.reject["class_not_in_train"]
    assert "'rare 1''s'" in rule
    read = preprocess(proposal.spec.as_json(), runner="local", out=str(tmp_path / "out"))
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert read == 400
    assert manifest["reasons"]["class_not_in_train"]["rows"] == rule.count("rare")
    assert 0 < rule.count("rare") < 40


def test_a_label_that_is_often_missing_raises_the_share_of_rejected_rows(init, chance) -> None:
    y = [chance.choice(["yes", "no", ""]) for _ in range(900)]
    share = y.count("") / len(y)
    proposal = init({"x": [chance.random() for _ in y], "Churned?": y}, "Churned?")
    assert share + 0.05 < proposal.spec.clean.max_rejected < share + 0.1
    assert "# the positive class is 'yes', the second in order" in lines_of(proposal, "task: ")[0]


def test_amounts_with_a_currency_are_a_number_to_predict(init, chance) -> None:
    rooms = [chance.randint(1, 9) for _ in range(300)]
    price = [f'"${r * 1000 + chance.randint(0, 900):,}.50"' for r in rooms]
    proposal = init({"rooms": rooms, "price": price}, "price")
    assert (proposal.spec.label, proposal.spec.task) == ("price", "regression")
    assert lines_of(proposal, "price: ")[0].startswith("price: {type: float, thousands: ',', unit")


def test_numbers_with_a_sign_of_minus_are_numbers(init) -> None:
    v = [i * 37 % 41 - 20 for i in range(1, 41)]
    table = {"v": [f"{v}.5".replace("-", "\N{MINUS SIGN}") for v in v]}
    table |= {"x": [i * 7 % 13 for i in range(1, 41)]}
    table |= {"y": ["yes" if n + i % 5 > 0 else "no" for i, n in enumerate(v, 1)]}
    proposal = init(table, "y")
    assert proposal.spec.columns["v"] == "float"
    assert "v" in [i.name for i in proposal.spec.inputs]
    assert init(table, "v").spec.task == "regression"


def test_decimal_commas_between_semicolons_are_a_number_to_predict(init, chance) -> None:
    area = [chance.uniform(20, 200) for _ in range(300)]
    price = [f"{a * 3:,.2f}".translate(str.maketrans(",.", ".,")) for a in area]
    place = [chance.choice(["Mitte", "Nord"]) for _ in area]
    proposal = init({"Lage": place, "Nr": range(300), "Preis": price}, "Preis", delimiter=";")
    assert (proposal.spec.source.delimiter, proposal.spec.label) == (";", "Preis")
    assert proposal.spec.task == "regression"


def test_dirty_amounts_in_a_semicolon_csv_reject_no_row(init, chance, tmp_path) -> None:
    comma = str.maketrans(",.", ".,")
    euros = [f"{chance.uniform(1, 9000):,.2f} €".translate(comma) for _ in range(300)]
    shares = [f"{chance.uniform(0, 100):.1f} %".replace(".", ",") for _ in euros]
    counts = [f"{chance.randint(1, 9000):,}".replace(",", ".") for _ in euros]
    euros[7], euros[70], shares[9], shares[90] = "n/a", "-", "-", "n/a"
    table = {"x": euros, "share": shares, "n": counts, "y": [chance.choice("ab") for _ in euros]}
    proposal = init(table, "y", delimiter=";")
    text = proposal.path.read_text()
    assert "x: {type: float, decimal: ',', thousands: ., unit: €}" in text
    assert "share: {type: float, decimal: ',', unit: '%'}" in text
    assert "n: {type: int, thousands: .}" in text
    preprocess(proposal.spec.as_json(), runner="local", out=str(tmp_path / "o"))
    assert json.loads((tmp_path / "o/manifest.json").read_text())["rows"]["rejected"] == 0


def test_amounts_in_json_and_parquet_are_declared_as_they_are_written(
    init, chance, tmp_path
) -> None:
    prices = [f"${chance.uniform(1, 9000):,.2f}" for _ in range(300)]
    table = pa.table({"price": prices, "y": [chance.choice("ab") for _ in prices]})
    pq.write_table(table, tmp_path / "p.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
    proposals = [
        init(lines, "y", name="t.jsonl"),
        init((tmp_path / "p.parquet").read_bytes(), "y", name="t.parquet"),
    ]
    for proposal in proposals:
        column = proposal.spec.declared["price"]
        assert (column.type, column.thousands, column.unit) == ("float", ",", ("$",))


def test_a_blank_behind_each_delimiter_is_no_part_of_a_value(init, chance, tmp_path) -> None:
    rows = [
        f"r{i}, {chance.choice(['NA', '2.5', '7'])}, {chance.choice(['true', 'false'])}, "
        f"2013-01-{i % 28 + 1:02}, {chance.choice(['Ulm', 'Bonn'])}, {chance.choice(['yes', 'no'])}"
        for i in range(300)
    ]
    proposal = init("\n".join(["id, x, flag, day, town, y", *rows]) + "\n", "y")
    trimmed = {n: c.trim for n, c in proposal.spec.declared.items() if c.type == "string"}
    assert trimmed == {" town": True, " y": True}
    assert (proposal.spec.label, proposal.spec.source.nulls) == (" y", ("", " NA"))
    assert [proposal.spec.columns[f" {n}"] for n in ("x", "flag", "day")] == [
        *("float", "bool", "date")
    ]
    preprocess(proposal.spec.as_json(), runner="local", out=str(tmp_path / "o"))
    assert json.loads((tmp_path / "o/manifest.json").read_text())["rows"]["rejected"] == 0
    label = json.loads((tmp_path / "o/transform.json").read_text())["label"]
    assert label["classes"] == ["no", "yes"]


def test_quotes_behind_a_blank_are_refused_with_the_command_that_removes_it(init, chance) -> None:
    rows = [f'r{i}, "{chance.choice(["Ulm, Nord", "Bonn"])}", {i % 2}' for i in range(300)]
    text = "\n".join(["id, town, y", *rows]) + "\n"
    with pytest.raises(QuatrainError, match="' town' have a blank before their quotes") as refused:
        init(text, "y")
    assert """remove the blanks: sed -E 's/[,][[:blank:]]+"/,"/g' < """ in str(refused.value)
    bare = re.sub(r',[ \t]+"', ',"', text)
    assert init(bare, "y").spec.columns[" town"] == "string"


def test_a_repeated_header_is_rejected_whatever_the_case_of_its_label(init, chance) -> None:
    y = [chance.choice(["Yes", "yes", "No"]) for _ in range(300)]
    rows = [f"{chance.random():.3f},{label}" for label in y]
    proposal = init("\n".join(["x,Label", *rows, "x,Label", *rows]) + "\n", "Label")
    assert proposal.spec.declared["Label"].case == "lower"
    assert proposal.spec.clean.reject["repeated_header"] == "\"Label\" = 'label'"


def days(n: int, form: str = "%Y-%m-%d") -> list[str]:
    first = datetime.date(2013, 1, 1)
    return [(first + datetime.timedelta(i)).strftime(form) for i in range(n)]


@pytest.mark.parametrize(
    "times",
    [
        days(400),
        days(400, "%d/%m/%Y"),
        days(400, "%Y%m%d"),
        [str(1_356_998_400_000 + i * 86_400_000) for i in range(400)],
    ],
    ids=["iso", "strptime", "digits", "epoch"],
)
def test_rows_with_a_time_are_split_by_it_however_it_is_written(
    init, chance, times: Sequence[Any]
) -> None:
    x = [chance.random() for _ in times]
    split = init({"day time": times, "x": x, "y": [v + chance.random() for v in x]}, "y").spec.split
    assert isinstance(split, TimeSplit)
    # 80 % and 90 % of 400 days after 2013-01-01 are days 319 and 359
    assert (split.column, split.validation_from, split.test_from) == (
        "day time",
        "2013-11-16",
        "2013-12-26",
    )


@pytest.mark.parametrize(("last", "parts"), [(23, ["hour", "day_of_week"]), (22, ["hour"])])
def test_two_weeks_of_times_have_their_hour_and_weekday(init, last: int, parts: list[str]) -> None:
    days = [*range(10, last + 1)] * 2
    made = [f"2024-05-{d} {d}:{d + 5}:{d + 9} UTC" for d in days]
    table = {"made": made, "x": [d * 7 % 13 for d in days], "y": [d % 2 for d in days]}
    proposal = init(table, "y")
    assert lines_of(proposal, "made: {type: timestamp, format: '%Y-%m-%d %H:%M:%S UTC'}")
    assert (proposal.spec.split.by, proposal.spec.split.column) == ("time", "made")
    assert [f.part for f in proposal.spec.features if f.transform == "cyclic"] == parts


def test_days_whose_year_has_two_digits_split_the_rows(init) -> None:
    table = {"d": [f"{i}-Jan-15" for i in range(10, 30)], "x": [i * 7 % 13 for i in range(20)]}
    proposal = init({**table, "y": [i % 2 for i in range(20)]}, "y")
    assert lines_of(proposal, "d: {type: date, format: '%d-%b-%y'}")
    split = proposal.spec.split
    assert (split.by, split.column) == ("time", "d")
    assert split.test_from.startswith("2015-01-2")


def test_a_birthday_splits_no_rows_and_an_ambiguous_date_is_asked_about(init, chance) -> None:
    x = [chance.random() for _ in range(400)]
    born = init({"birth_date": days(400), "x": x, "y": x[::-1]}, "y")
    assert isinstance(born.spec.split, HashSplit)
    dates = [f"{chance.randint(1, 12):02d}/{chance.randint(1, 12):02d}/2013" for _ in x]
    proposal = init({"when": dates, "x": x, "y": x[::-1]}, "y")
    assert isinstance(proposal.spec.split, HashSplit)
    (question,) = proposal.draft.questions
    assert "may have the day or the month first" in question.text
    assert question.lines == (
        "when: {type: date, format: '%d/%m/%Y'}  # below columns",
        "when: {type: date, format: '%m/%d/%Y'}  # below columns",
    )


def test_numbers_that_grow_with_time_are_left_out_of_a_split_by_time(init, chance) -> None:
    x = [chance.random() for _ in range(400)]
    months = [d[5:7].lstrip("0") for d in days(360)] + ["12"] * 40
    table = {"day": days(400), "month": months, "x": x, "y": [v + chance.random() for v in x]}
    proposal = init(table, "y")
    assert "month" not in proposal.spec.columns
    assert "it grows with time" in lines_of(proposal, "it grows")[0]


def test_a_text_is_a_feature_of_a_split_by_time_though_no_text_repeats(init, chance) -> None:
    words = ["vpn", "mail", "printer", "paper", "please", "help", "slow", "login"]
    texts = [" ".join(chance.choices(words, k=6)) for _ in range(400)]
    y = [str("vpn" in text and chance.random() < 0.9) for text in texts]
    proposal = init({"day": days(400), "subject": texts, "y": y}, "y")
    assert isinstance(proposal.spec.split, TimeSplit)
    assert proposal.spec.features[-1].transform == "text"


def test_a_number_measured_only_lately_is_left_out_of_a_split_by_time(init, chance) -> None:
    x = [chance.random() for _ in range(400)]
    late = [chance.random() if i >= 350 else "" for i in range(400)]
    table = {"day": days(400), "late": late, "x": x, "y": [v + chance.random() for v in x]}
    proposal = init(table, "y")
    assert "no value in the train rows" in lines_of(proposal, "# late: ")[0]


def test_rows_of_one_id_stand_on_one_side(init, chance) -> None:
    ids = [i // 8 for i in range(1200)]
    level = [chance.gauss(0, 3) for _ in range(150)]
    table = {
        "patient_id": ids,
        "m": [level[i] + chance.gauss(0, 1) for i in ids],
        "score": [2 * level[i] + chance.gauss(0, 1) for i in ids],
    }
    proposal = init(table, "score")
    assert isinstance(proposal.spec.split, HashSplit)
    assert proposal.spec.split.keys == ("patient_id",)
    assert [i.name for i in proposal.spec.inputs] == ["m"]


def test_fifty_rows_get_parts_of_a_fifth_and_no_bound(init, chance) -> None:
    x = [chance.random() for _ in range(50)]
    proposal = init({"x": x, "y": [int(v > 0.5) for v in x]}, "y")
    assert isinstance(proposal.spec.split, HashSplit)
    assert (proposal.spec.split.validation, proposal.spec.split.test) == (0.2, 0.2)
    assert proposal.spec.evaluate.gate == {}


def test_a_column_that_gives_the_label_away_is_a_comment(init, chance) -> None:
    y = [chance.choice(["dead", "alive"]) for _ in range(400)]
    table = {"age": [chance.random() for _ in y], "code": [len(v) for v in y], "outcome": y}
    proposal = init(table, "outcome")
    assert [i.name for i in proposal.spec.inputs] == ["age"]
    question = proposal.draft.questions[0]
    assert question.text.startswith("'code' alone has an AUC of 1.0000: it may give the label away")
    assert question.lines == (
        "code: string  # below columns",
        "- {name: code, from: code, transform: vocabulary}",
    )
    assert any(
        line.startswith("# - {name: code, from: code") for line in lines_of(proposal, "code")
    )


def test_the_only_column_stays_though_it_gives_the_label_away(init, chance) -> None:
    x = [chance.uniform(0, 100) for _ in range(400)]
    proposal = init({"x": x, "y": [int(v > 50) for v in x]}, "y")
    assert [i.name for i in proposal.spec.inputs] == ["x"]
    assert "it is kept, because no other column is left" in proposal.draft.remarks[0]


def test_a_rare_class_stands_in_every_part(init, chance) -> None:
    x, rare = range(700), [i for i in range(700) if i % 97 == 0]
    table = {"x": x, "n": [chance.random() for _ in x], "fraud": [int(i in rare) for i in x]}
    split = init(table, "fraud").spec.split
    assert isinstance(split, HashSplit)
    assert split.keys == ("x",)
    assert set(assign(split, pa.record_batch({"x": pa.array(rare)}))) >= {0, 2}


def test_columns_that_are_missing_where_the_target_is_have_a_remark(init, chance) -> None:
    x = [chance.random() for _ in range(400)]
    gone = set(range(0, 400, 20))
    table = {
        "x": x,
        "landed": ["" if i in gone else chance.random() for i in range(400)],
        "late": ["" if i in gone else v + chance.random() for i, v in enumerate(x)],
    }
    [question] = init(table, "late").draft.questions
    assert question.text == (
        "'landed' is missing where the target is missing: is it known when the prediction is made? "
        "If not, comment it out"
    )


def test_a_few_whole_numbers_are_classes_with_a_remark(init, chance) -> None:
    stars = [chance.choice([1, 2, 3, 4]) for _ in range(400)]
    proposal = init({"stars": stars, "x": [s + chance.random() for s in stars]}, "stars")
    assert proposal.spec.task == "multiclass"
    assert "the 4 whole numbers are taken as classes" in proposal.draft.comments["task"]


def test_floats_of_two_values_become_classes(init, chance) -> None:
    y = [chance.choice(["0.0", "1.0", ""]) if i % 9 else "1.0" for i in range(400)]
    proposal = init({"x": [chance.random() for _ in y], "alive": y}, "alive")
    assert (proposal.spec.label, proposal.spec.task) == ("alive_class", "binary")


def test_a_whole_number_gets_levels_where_they_say_more_than_its_size(init, chance) -> None:
    store = [chance.randint(1, 40) for _ in range(2000)]
    size = [chance.randint(1, 40) for _ in store]
    y = [(s * 7919 % 13) + v + chance.random() for s, v in zip(store, size, strict=True)]
    proposal = init({"store": store, "size": size, "y": y}, "y")
    assert [f.name for f in proposal.spec.features] == ["store", "store_level", "size"]


def test_free_text_is_hashed_by_its_words(init, chance) -> None:
    y = [chance.choice(["ham", "spam"]) for _ in range(300)]
    report = [f"the {chance.choice('abc')} cat number {i} is {v}" for i, v in enumerate(y)]
    [feature] = init({"report": report, "y": y}, "y").spec.features
    assert (feature.name, type(feature).__name__) == ("report", "Text")


def test_types_of_parquet_are_taken_as_they_are(tmp_path: Path, chance: random.Random) -> None:
    n = 400
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "cat": pa.array([chance.choice(["u", "v"]) for _ in range(n)]).dictionary_encode(),
            "dec": pa.array(range(n), pa.int64()).cast(pa.decimal128(30, 2)),
            "lst": pa.array([[1]] * n),
            "big": pa.array([2**63 + i for i in range(n)], pa.uint64()),
            "ts": pa.array([start + datetime.timedelta(hours=i) for i in range(n)]),
            "nul": pa.nulls(n),
            "flag": pa.array([chance.random() > 0.5 for _ in range(n)]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    spec = propose(str(tmp_path / "t.parquet"), "flag", tmp_path / "t.yaml").spec
    assert spec.columns == {"cat": "string", "ts": "timestamp", "flag": "bool"}


def test_a_column_of_the_path_is_a_feature_or_the_target(tmp_path: Path) -> None:
    table = pa.table(
        {"x": [i * 7 % 13 / 13 for i in range(40)], "y": ["no", "no", "yes", "no"] * 10}
    )
    for month in (7, 8):
        (tmp_path / f"month={month}").mkdir()
        pq.write_table(table, tmp_path / f"month={month}/t.parquet")
    for target, others in (("y", {"x", "month"}), ("month", {"x", "y"})):
        spec = propose(f"{tmp_path}/*/*.parquet", target, tmp_path / f"{target}.yaml").spec
        assert (spec.task, {i.name for i in spec.inputs}) == ("binary", others)
        assert check(spec).problems == []


def test_a_stray_object_or_array_costs_its_row_and_not_the_column(
    init, chance, tmp_path: Path
) -> None:
    rows = [
        {"x": chance.random(), "w": i % 7, "good": "yes" if chance.random() > 0.5 else "no"}
        for i in range(900)
    ]
    rows[50]["good"], rows[300]["x"], rows[700]["w"] = {"a": 1}, [1], {}
    rows[40]["seldom"] = {"a": 1}
    proposal = init("".join(json.dumps(r) + "\n" for r in rows), "good", name="t.jsonl")
    assert proposal.spec.task == "binary"
    assert {i.name for i in proposal.spec.inputs} == {"x", "w"}
    preprocess(proposal.spec.as_json(), runner="local", out=str(tmp_path / "o"))
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    assert manifest["rows"]["rejected"] == 3
    assert manifest["reasons"]["bad_value"]["rows"] == 3


def test_json_lines_are_taken_as_their_values_are_typed(init, chance) -> None:
    rows = []
    for i in range(300):
        row = {"id": f"r{i}", "n": i % 7, "time": 1_600_000_000 + 3600 * i, "tags": ["a"]}
        row |= {"size": chance.random()} if i % 3 else {}
        rows.append(json.dumps({**row, "good": chance.random() > 0.5}))
    proposal = init("\n".join(rows) + "\n", "good", name="t.jsonl")
    assert proposal.spec.source.format == "jsonl"
    assert proposal.spec.source.optional_keys
    assert proposal.spec.columns == {
        "n": "int",
        "time": "timestamp",
        "size": "float",
        "good": "bool",
    }
    assert lines_of(proposal, "time: ")[0].startswith("time: {type: timestamp, epoch: s}")
    assert "left out: it is an array" in lines_of(proposal, "# tags")[0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["1"] * 100, "target 'y': it is 1 in all 100 rows with a value"),
        ([str(i) for i in range(100)], "it has 100 different values in 100 rows, so it identifies"),
        ([""] * 100, "it has no value in 100 rows"),
        (days(100), "it is a time; write a duration"),
        ([f"w{i}" for i in range(150)] * 2, "it has 150 classes, more than 100"),
        ([f"the cat sat on the mat {i}" for i in range(100)], "it is free text"),
        (["1", "2"], "only 2 rows have a value; a model needs at least 10"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused_with_the_reason(
    init, chance, values: list[str], sentence: str
) -> None:
    with pytest.raises(SpecError, match="target 'y'") as refused:
        init({"x": [chance.random() for _ in values], "y": values}, "y")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("a,y\n", "there are no rows, only a header"),
        ("y\n" + "1\n2\n" * 50, "there is no column besides the target 'y' to predict it from"),
        ("a,y\n" + "1,2\n1,3\n" * 50, "every column besides the target 'y' has one value or none"),
        ("a,b\n1,2\n", "target 'y': there is no such column"),
        ("", "is empty; a CSV must start with the names of its columns"),
        ("имя,y\n1,2\n".encode("cp1251"), "is not UTF-8, and which other encoding it has"),
    ],
)
def test_a_table_without_a_spec_is_refused_with_the_reason(
    init, tmp_path: Path, table: str | bytes, sentence: str
) -> None:
    with pytest.raises(QuatrainError) as refused:
        init(table, "y")
    assert sentence in str(refused.value)
    assert not (tmp_path / "t.yaml").exists()


def times_of(chance: random.Random, form: str) -> list[str]:
    if form == "ties":
        return [f"2024-06-{i if i < 15 else 30:02d}" for i in range(1, 301)]
    return ["" if form == "gaps" and i % 9 == 0 else d for i, d in enumerate(days(300))]


@pytest.mark.parametrize(
    ("name", "form", "reason"),
    [
        ("created", "ties", "95% of the rows share one day"),
        ("created", "gaps", "it is missing in 11% of the rows"),
        ("birth_date", "plain", "it is a time of birth or expiry by its name"),
    ],
)
def test_a_time_that_splits_no_rows_has_its_reason(
    init, chance, name: str, form: str, reason: str
) -> None:
    times = times_of(chance, form)
    y = [chance.choice("ab") for _ in times]
    proposal = init({name: times, "x": [round(chance.random(), 4) for _ in y], "y": y}, "y")
    assert isinstance(proposal.spec.split, HashSplit)
    [remark] = [r for r in proposal.draft.remarks if "not split by" in r]
    assert remark.startswith(f"the rows are not split by {name!r}: {reason}")


def test_parts_of_a_few_rows_have_their_share(init, chance) -> None:
    for _ in range(5):
        x = [f"{chance.random():.6f}" for _ in range(150)]
        split = init({"x": x, "y": [chance.choice("ab") for _ in x]}, "y").spec.split
        values = pa.record_batch({"x": pa.array([float(v) for v in x])})
        assert (np.bincount(assign(split, values)) >= [81, 27, 27]).all()


def test_forty_rows_of_forty_keys_have_nearly_the_parts_they_request(init) -> None:
    rows = [
        {"ref": "20-B" if i == 21 else i, "x": i * 7 % 13, "y": "no" if i % 3 else "yes"}
        for i in range(1, 41)
    ]
    proposal = init("".join(f"{json.dumps(row)}\n" for row in rows), "y", "t.jsonl")
    assert proposal.spec.columns["ref"] == "string"
    assert proposal.spec.split.keys == ("ref",)
    assert not [r for r in proposal.draft.remarks if "train, validation and test have" in r]


def test_an_existing_spec_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("mine")
    with pytest.raises(SpecError, match="already exists; remove it, or choose another name"):
        propose(str(TABLES / "taxi.csv"), "tips", tmp_path / "t.yaml")
    assert (tmp_path / "t.yaml").read_text() == "mine"
    with pytest.raises(SpecError, match="there is no such column; did you mean 'tips'"):
        propose(str(TABLES / "taxi.csv"), "Tips", tmp_path / "t.yaml")


def test_a_table_beside_the_folder_of_the_spec_is_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chance
) -> None:
    (tmp_path / "here").mkdir()
    rows = "".join(f"{chance.random()},{i % 2}\n" for i in range(60))
    (tmp_path / "t [1].csv").write_text(f"x,y\n{rows}")
    monkeypatch.chdir(tmp_path / "here")
    written = propose("../t [1].csv", "y", Path("t.yaml")).path.read_text()
    assert written.count("uri: ../t [1].csv") == 1
    written = propose(f"{tmp_path}/t [1].csv", "y", Path("whole.yaml")).path.read_text()
    assert f"uri: {tmp_path}/t [1].csv" in written


def test_the_text_of_a_file_never_leaves_its_comment(init, chance) -> None:
    x = [chance.random() for _ in range(300)]
    bad = '"a\nlabel: x"'
    header = 'x,"b",y\n'
    rows = "".join(f"{v},{bad},{chance.choice('ab')}\n" for v in x)
    proposal = init(header + rows, "y")
    assert proposal.spec.source.quoted_newlines
    assert proposal.spec.label == "y"


def test_a_label_that_leaves_the_range_of_train_has_no_bound(init, chance) -> None:
    n = 600
    grows = [1000 + 10 * i + chance.random() for i in range(n)]
    same = [chance.randint(0, 5) for _ in grows]
    proposal = init({"day": months(n), "x": same, "y": grows}, "y")
    assert proposal.spec.evaluate.gate == {}
    assert "a label outside the range of train" in " ".join(lines_of(proposal, "#"))


def test_a_monthly_series_has_no_weekday(init, chance) -> None:
    y = [chance.random() for _ in range(240)]
    proposal = init({"day": months(len(y)), "y": y}, "y")
    assert [f.name for f in proposal.spec.features] == ["day_month"]


def test_a_column_that_stands_only_beside_missing_labels_is_left_out(init, chance) -> None:
    rows = [(i, chance.random(), "", chance.random()) for i in range(100)]
    rows += [(i, chance.random(), chance.random(), "") for i in range(100, 200)]
    id_, x, then, y = zip(*rows, strict=True)
    proposal = init({"id": id_, "x": x, "then": then, "y": y}, "y")
    assert [f.name for f in proposal.spec.features] == ["x"]


def test_a_few_large_keys_leave_each_part_near_its_share(init, chance) -> None:
    sizes = [200] * 4 + [20] * 30
    ids = [f"K-{1000 + k}" for k, size in enumerate(sizes) for _ in range(size)]
    table = {"key": ids, "x": [chance.random() for _ in ids]}
    proposal = init({**table, "y": [chance.randint(0, 1) for _ in ids]}, "y")
    split = proposal.spec.split
    assert isinstance(split, HashSplit)
    assert split.keys == ("key",)
    counts = np.bincount(assign(split, pa.record_batch({"key": ids})))
    assert min(counts[1:]) >= 0.05 * len(ids)


def test_rows_of_classes_that_train_lacks_do_not_fill_a_part(init, tmp_path: Path) -> None:
    names = [f"n{i // 2}" for i in range(14)] + ["a", "b", "c"]
    proposal = init({"x": [f"ba{i}" for i in range(17)], "y": names}, "y")
    assert preprocess(proposal.spec.as_json(), runner="local", out=str(tmp_path / "o")) == 17
    rows = json.loads((tmp_path / "o/manifest.json").read_text())["rows"]
    assert min(rows[part] for part in ("train", "validation", "test")) >= 1


def test_many_pairs_of_columns_that_may_be_the_same_are_one_remark(init, chance) -> None:
    table = {f"x{k}": [chance.randint(0, 99) for _ in range(300)] for k in range(9)}
    table |= {f"{name}_again": [2 * v for v in x] for name, x in list(table.items())}
    remarks = init({**table, "y": [i * 7 % 11 % 2 for i in range(300)]}, "y").draft.remarks
    [remark] = [r for r in remarks if "same information" in r]
    assert remark.startswith("9 pairs of columns may hold the same information")
    assert remark.endswith("'x2' and 'x2_again'; and 6 more")


def test_a_year_that_does_not_repeat_is_a_number_and_no_identifier(init, chance) -> None:
    level = [chance.random() for _ in range(98)]
    proposal = init({"year": range(1875, 1973), "level": level}, "level")
    assert [f.name for f in proposal.spec.features] == ["year"]


def test_numbers_that_name_something_are_no_amount_to_predict(init, chance) -> None:
    table = {"user_id": [i // 3 for i in range(600)], "x": [chance.random() for _ in range(600)]}
    with pytest.raises(SpecError, match="its name says that its numbers are codes"):
        init(table, "user_id")


@pytest.mark.parametrize(
    ("name", "values", "odd"),
    [
        ("zip_code", [98101 + 3 * i for i in range(20)], "98101-4820"),
        ("plz", [10115 + i for i in range(20)], "D-10117"),
        ("type", [1, 2, 3, 4], "4b"),
        ("tract", [17031081401 + i for i in range(15)], "17031OLD"),
    ],
)
def test_digits_that_name_something_are_text(
    init, chance, tmp_path, name: str, values: list[int], odd: str
) -> None:
    code = [str(chance.choice(values)) for _ in range(1000)]
    code[7] = code[507] = odd
    x = [round(chance.random(), 4) for _ in code]
    table = {name: code, "x": x, "y": [int(v + chance.random() > 1) for v in x]}
    proposal = init(table, "y")
    assert proposal.spec.columns[name] == "string"
    assert name in {i.name for i in proposal.spec.inputs}
    preprocess(proposal.spec.as_json(), runner="local", out=str(tmp_path / "o"))
    assert json.loads((tmp_path / "o/manifest.json").read_text())["rows"]["rejected"] == 0


def test_numbers_of_rows_of_which_some_are_none_reject_no_row(init, chance) -> None:
    ids = [f"{i}a" if i in (300, 900) else str(i) for i in range(1500)]
    y = [chance.choice("ab") for _ in ids]
    proposal = init({"id": ids, "x": [round(chance.random(), 6) for _ in ids], "y": y}, "y")
    assert proposal.spec.split.keys == ("id",)
    assert proposal.spec.columns["id"] == "string"


def test_a_count_of_the_rows_is_a_feature_where_there_is_no_other(init, chance) -> None:
    proposal = init({"n": range(24), "freq": [chance.randint(0, 99) for _ in range(24)]}, "freq")
    assert [f.name for f in proposal.spec.features] == ["n"]
    assert "may only count the rows: 'n'" in lines_of(proposal, "count the rows")[0]


def test_negative_nines_among_positive_numbers_may_be_missing(init, chance) -> None:
    x = [chance.choice([-999, chance.randint(0, 5000)]) for _ in range(300)]
    proposal = init({"x": x, "y": [chance.randint(0, 1) for _ in x]}, "y")
    assert "-999 in" in lines_of(proposal, "may stand for a missing value")[0]
    x = [chance.choice([9.42399, chance.random()]) for _ in range(300)]
    proposal = init({"x": x, "y": [chance.randint(0, 1) for _ in x]}, "y")
    assert not lines_of(proposal, "may stand for a missing value")


def test_years_that_split_no_rows_have_a_remark(init, chance) -> None:
    table = {
        "year": [1900 + i / 12 for i in range(300)],
        "y": [chance.random() for _ in range(300)],
    }
    assert "holds years" in lines_of(init(table, "y"), "'year'")[0]


def test_an_id_that_splits_the_rows_is_not_called_a_leak(init, chance) -> None:
    ids = [i // 4 for i in range(400)]
    table = {
        "user_id": ids,
        "x": [chance.random() for _ in ids],
        "y": [i * 7 % 50 % 2 for i in ids],
    }
    proposal = init(table, "y")
    assert proposal.spec.split.keys == ("user_id",)
    assert not lines_of(proposal, "give the label away")


def test_a_split_of_few_rows_by_time_tests_more_than_a_tenth(init, chance) -> None:
    y = [chance.random() for _ in range(120)]
    split = init({"day": months(120), "x": y[::-1], "y": y}, "y").spec.split
    assert isinstance(split, TimeSplit)
    assert (split.validation_from, split.test_from) == ("1956-12-10", "1958-06-05")


def test_a_column_of_infinities_rejects_no_rows(tmp_path: Path, chance) -> None:
    x = [chance.random() for _ in range(200)]
    ratio = [float("inf") if i % 7 == 0 else i / 7 for i in range(200)]
    table = {"x": x, "ratio": ratio, "y": [int(v > 0.4) for v in reversed(x)]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    proposal = propose(str(tmp_path / "t.parquet"), "y", tmp_path / "t.yaml")
    assert list(proposal.spec.columns) == ["x", "y"]
    assert "29 cells do not convert (infinity" in lines_of(proposal, "infinity")[0]


def test_a_label_that_differs_in_a_single_row_is_refused_with_the_reason(init, chance) -> None:
    y = [0.5] + [1.5] * 40
    with pytest.raises(SpecError, match="the same value stands in all but 1 of 41 rows"):
        init({"x": [chance.random() for _ in y], "y": y}, "y")


def models_of_cars(chance: random.Random) -> dict[str, list[Any]]:
    """Rows of a few makes and models, of which many differ in the model alone."""
    rows = []
    for model in range(40):
        make, drive, size = chance.choice("ABC"), chance.choice("fr4"), chance.choice("SML")
        for _ in range(6):
            liters = chance.choice([1.8, 2.0, 2.5, 3.0, 4.0, 5.7])
            year, miles = chance.choice([1999, 2008]), 35 - 3 * liters + chance.randint(0, 2)
            rows.append((make, f"{make}{model}", liters, year, drive, size, round(miles)))
    names = ("make", "model", "liters", "year", "drive", "size", "miles")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def rows_alike_beside_a_number(chance: random.Random) -> dict[str, list[Any]]:
    a, b = ([chance.randint(0, n) for _ in range(600)] for n in (99, 9))
    y = ["yes" if v + chance.random() * 60 > 80 else "no" for v in a]
    return {"id": [f"r{i * 7919 % 600:05}" for i in range(600)], "a": a, "b": b, "miles": y}


@pytest.mark.parametrize("table", [models_of_cars, rows_alike_beside_a_number])
def test_the_audit_of_a_run_has_no_finding_on_the_split_of_init(
    init, chance, tmp_path, table: Any
) -> None:
    spec = init(table(chance), "miles").spec
    preprocess(spec.as_json(), runner="local", out=str(tmp_path / "out"))
    audit = json.loads((tmp_path / "out/statistics.json").read_text())["audit"]
    assert [check["sentence"] for check in audit if check["verdict"] == "finding"] == []


def test_parts_that_miss_the_request_are_told_with_the_reason(init, chance) -> None:
    person = [min(i // 4, 30) for i in range(240)]  # the last one has half of the rows
    town = [f"t{p * 7 % 5}" for p in person]
    age = [20 + p * 11 % 50 for p in person]
    x, y = [round(chance.random(), 6) for _ in person], [chance.choice("ab") for _ in person]
    work = [f"w{p * 5 % 4}" for p in person]
    table = {"person": person, "age": age, "town": town, "work": work, "x": x, "y": y}
    proposal = init(table, "y")
    assert proposal.spec.split.keys == ("person",)
    (remark,) = [r for r in proposal.draft.remarks if "few values with many rows" in r]
    assert remark.startswith("train, validation and test have 1")
    assert ", not 144, 48, 48, because 'person' has few values" in remark


def test_the_newest_rows_with_a_label_are_the_test_rows(init, chance) -> None:
    # The outcome of the last tenth is not known yet: such rows are rejected, and test nothing.
    days = [f"20{10 + i // 48:02}-{1 + i // 4 % 12:02}-{1 + i % 4:02}" for i in range(480)]
    x = [round(chance.random(), 4) for _ in days]
    y = [chance.choice("ab") if i < 432 else "" for i in range(480)]
    proposal = init({"day": days, "x": x, "y": y}, "y")
    split, known = proposal.spec.split, days[:432]
    assert sum(day >= split.test_from for day in known) in range(40, 48)
    assert sum(split.validation_from <= day < split.test_from for day in known) in range(40, 48)


@pytest.mark.parametrize(
    ("step", "is_number"), [((1, 30), False), ((1, 9000), True), ((10, 10), True)]
)
def test_numbers_that_grow_without_a_pair_of_equals_were_given_out(
    init, chance, step: tuple[int, int], is_number: bool
) -> None:
    at, rows = 10_056, []
    for _ in range(400):
        at += chance.randint(*step)
        rows.append({"pnum": at, "x": round(chance.random(), 4), "y": chance.choice("ab")})
    table = {name: [row[name] for row in rows] for name in rows[0]}
    used = {feature.name for feature in init(table, "y").spec.features}
    assert ("pnum" in used) == is_number


def test_a_column_of_one_value_where_the_label_is_known_has_no_feature(init, chance) -> None:
    # Whoever is still in office has no reason to have left.
    x = [round(chance.random(), 4) for _ in range(300)]
    left = [chance.random() < 0.9 for _ in x]
    y = [chance.choice(["death", "retired"]) if gone else "" for gone in left]
    draft = init({"x": x, "left": [str(gone).lower() for gone in left], "y": y}, "y").draft
    (line,) = (f for f in draft.features if f.value["from"] == "left")
    assert not line.is_active
    assert line.comment == "only one value in the train rows that have a label"


@pytest.mark.parametrize("type_", [pa.float64(), pa.int64(), pa.timestamp("us"), pa.bool_()])
def test_a_typed_column_without_a_value_is_left_out(tmp_path: Path, type_: pa.DataType) -> None:
    columns = {"x": [i * 7 % 13 for i in range(99)], "y": [i % 2 for i in range(99)]}
    table = pa.table({**columns, "none": pa.nulls(99, type_)})
    pq.write_table(table, tmp_path / "t.parquet")
    assert set(propose(str(tmp_path / "t.parquet"), "y").spec.columns) == {"x", "y"}
