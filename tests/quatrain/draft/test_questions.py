"""Questions: three at most, and a spec with their lines passes the check."""

from __future__ import annotations

import datetime
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from quatrain.components.errors import SpecError
from quatrain.components.preprocess.run import preprocess
from quatrain.draft.propose import Proposal
from quatrain.validation.load import load_spec
from quatrain.validation.sample import check


def pasted(proposal: Proposal, question: int) -> Path:
    """Returns a copy of a spec in which the lines of a question replace their sections."""
    lines = proposal.draft.questions[question].lines
    document = yaml.safe_load(proposal.path.read_text())
    out = [line.removeprefix("# - ") for line in lines if line.startswith("# - ")]
    dropped = [yaml.safe_load(line) for line in out]
    for line in (x for x in lines if x[:1] not in "#-"):
        section = re.search(r"# below (\w+)$", line)
        place = document[section[1]] if section else document
        place |= yaml.safe_load(line)
    added = [yaml.safe_load(line)[0] for line in lines if line.startswith("- ")]
    document["features"] = [f for f in document["features"] if f not in dropped] + added
    document["source"]["uri"] = str(proposal.path.parent / document["source"]["uri"])
    path = proposal.path.with_name("pasted.yaml")
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    assert check(load_spec(path)).problems == []
    return path


def rows_of(spec: Any, out: Path) -> dict[str, Any]:
    preprocess(spec.as_json(), runner="local", out=str(out))
    return dict(json.loads((out / "manifest.json").read_text()))


def labels(chance: random.Random, n: int = 300) -> dict[str, list[Any]]:
    x = [round(chance.random(), 4) for _ in range(n)]
    return {"x": x, "y": ["yes" if v + chance.random() > 1 else "no" for v in x]}


@pytest.mark.parametrize("at", [0, 40, 299])
@pytest.mark.parametrize("stray", ["y", "maybe", "?!", "#REF", "yes?", "2024", "total", "'"])
def test_a_stray_label_is_named_and_rejected(init, chance, tmp_path, at: int, stray: str) -> None:
    table = labels(chance)
    table["y"][at] = stray
    proposal = init(table, "y")
    assert proposal.spec.task == "binary"
    assert proposal.draft.questions[0].text.startswith(
        f"'y' has two classes, and a few other values: {stray!r} (1 row); clean.reject.stray_label"
    )
    manifest = rows_of(proposal.spec, tmp_path / "out")
    assert manifest["reasons"]["stray_label"]["rows"] == 1
    assert manifest["rows"]["rejected"] == 1


@pytest.mark.parametrize("values", [("0", "1", "9"), ("1", "2", "-1"), ("0.5", "1.5", "7")])
def test_a_stray_number_beside_two_classes_makes_no_amounts(
    init, chance, tmp_path, values: Sequence[str]
) -> None:
    table = labels(chance)
    table["y"] = [values[v == "yes"] for v in table["y"]]
    table["y"][7] = table["y"][70] = values[2]
    proposal = init(table, "y")
    assert proposal.spec.task == "binary"
    assert rows_of(proposal.spec, tmp_path / "out")["reasons"]["stray_label"]["rows"] == 2


def test_a_rule_leaves_out_one_of_two_columns_that_differ_by_case_alone(init, chance) -> None:
    table = labels(chance)
    assert [i.name for i in init({**table, "X": table["x"][::-1]}, "y").spec.inputs] == ["x", "X"]
    table["y"][9] = "oops"
    proposal = init({**table, "X": table["x"][::-1]}, "y")
    assert [i.name for i in proposal.spec.inputs] == ["x"]


def test_many_stray_labels_are_no_hundred_classes(init, chance) -> None:
    table = labels(chance, 15_000)
    table["y"][:120] = [f"junk {i}" for i in range(120)]
    proposal = init(table, "y")
    assert proposal.spec.task == "binary"
    assert "and 115 more" in proposal.draft.questions[0].text


@pytest.mark.parametrize(("classes", "code"), [((0, 1), 9), ((1, 2), -9), ((0, 1), 99)])
def test_the_number_of_no_answer_beside_two_classes_is_no_label(
    init, chance, classes: tuple[int, int], code: int
) -> None:
    table = labels(chance)
    table["y"] = [classes[y == "yes"] if i % 20 else code for i, y in enumerate(table["y"])]
    proposal = init(table, "y")
    assert proposal.spec.task == "binary"
    assert f"a few other values: '{code}' (15 rows)" in proposal.draft.questions[0].text


def test_counts_and_three_classes_keep_their_rare_values(init, chance) -> None:
    table = labels(chance)
    table["y"] = [2 if i in (9, 99) else int(i % 6 == 0) for i in range(300)]
    assert init(table, "y").spec.task == "regression"
    table["y"] = [chance.choice("abc") for _ in table["x"]]
    table["y"][3] = "d"
    assert init(table, "y").spec.task == "multiclass"
    table["y"] = [chance.choice("ab") if i % 10 else "c" for i in range(300)]
    assert init(table, "y").spec.task == "multiclass"


@pytest.mark.parametrize("target", ["y", "x"])
def test_a_row_that_repeats_the_header_is_told_with_its_line(
    init, chance, tmp_path, target: str
) -> None:
    rows = [f"r{i},{chance.random():.4f},{chance.choice(['yes', 'no'])}\n" for i in range(80)]
    text = "".join(["id,x,y\n", *rows[:40], "id,x,y\n", *rows[40:]])
    proposal = init(text, target)
    assert proposal.spec.task == {"y": "binary", "x": "regression"}[target]
    assert proposal.spec.source.nulls == ("",)
    assert "line 42 repeats the header, and is rejected" in proposal.draft.remarks
    assert rows_of(proposal.spec, tmp_path / "out")["rows"]["rejected"] == 1


def test_a_repeated_header_among_words_alone_is_rejected_by_a_rule(init, chance, tmp_path) -> None:
    rows = [
        f"{chance.choice('qrstuvwxyz')},{chance.choice(['lo', 'mid', 'hi'])}\n" for _ in range(200)
    ]
    proposal = init("".join(["kind,size\n", *rows, "kind,size\n", *rows[:9]]), "size")
    assert proposal.spec.task == "multiclass"
    manifest = rows_of(proposal.spec, tmp_path / "out")
    assert manifest["reasons"]["repeated_header"]["rows"] == 1


def test_a_column_that_gives_away_most_labels_is_asked_about_and_stays(init, chance) -> None:
    table = labels(chance, 1000)
    wrong = {"yes": "no", "no": "yes"}
    told = [wrong[v] if chance.random() < 0.02 else v for v in table["y"]]
    table["code"] = [("A" if v == "yes" else "B") + str(chance.randint(0, 2)) for v in told]
    proposal = init(table, "y")
    question = proposal.draft.questions[0]
    assert re.match(
        r"'code' alone has an AUC of 0\.9[78].*: is it known when the prediction is "
        r"made\? If not, comment it out",
        question.text,
    )
    assert "code" in {i.name for i in proposal.spec.inputs}
    assert "code" not in {i.name for i in load_spec(pasted(proposal, 0)).inputs}
    comments = proposal.path.read_text()
    assert "#     # - {name: code, from: code, transform: vocabulary}" in comments


def stamps(chance: random.Random) -> dict[str, list[Any]]:
    rows = []
    for year in range(1990, 2010):
        for day in sorted(chance.sample(range(28 * 12), 40)):
            moment = (year, day // 28 + 1, day % 28 + 1, chance.choice([0, 6, 12, 18]))
            rows.append((*moment, round(chance.random(), 3), round(chance.random(), 3)))
    names = ("year", "month", "day", "hour", "x", "y")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("parts", [4, 3, 2, 1])
def test_a_time_in_several_columns_is_proposed_for_the_split(init, chance, parts: int) -> None:
    table = stamps(chance)
    for name in ("year", "month", "day", "hour")[parts:]:
        del table[name]
    proposal = init(table, "y")
    assert proposal.spec.split.by == "hash"
    [question] = proposal.draft.questions
    assert "if later rows are to be predicted from earlier ones" in question.text
    split = load_spec(pasted(proposal, 0)).split
    assert (split.by, split.column) == ("time", "moment")
    assert split.validation_from[:4] in ("2005", "2006")


def test_the_years_of_the_rows_are_asked_about_and_not_those_of_a_building(init, chance) -> None:
    sold = [chance.randint(2000, 2015) for _ in range(500)]
    table = {"year_built": [chance.randint(1900, 1999) for _ in sold], "year_sold": sold}
    table |= {"x": [round(chance.random(), 4) for _ in sold], "y": [chance.random() for _ in sold]}
    [question] = init(table, "y").draft.questions
    assert question.text.startswith("'year_sold' holds years")


def test_an_entity_of_many_rows_that_stand_apart_is_asked_about(init, chance) -> None:
    rows = []
    for unit in chance.sample(range(1000), 40):
        kind, land = chance.choice("abcd"), chance.choice("uvwxyz")
        rows += [
            (unit, kind, land, f"{chance.random():.5f}", chance.choice("no")) for _ in range(99)
        ]
    chance.shuffle(rows)
    names = ("unit", "kind", "land", "x", "y")
    proposal = init(dict(zip(names, zip(*rows, strict=True), strict=True)), "y")
    assert proposal.draft.questions[0].text.startswith("'unit' may identify what a row is about")
    spec = load_spec(pasted(proposal, 0))
    assert spec.split.keys == ("unit",)
    assert "unit" not in {i.name for i in spec.inputs}


def test_what_is_left_out_comes_back_with_its_column(init, chance) -> None:
    table = labels(chance)
    table |= {"copy": [v.upper() for v in table["y"]], "year": [2000 + i // 20 for i in range(300)]}
    table["y"][5] = "oh"
    proposal = init(table, "y")
    assert proposal.draft.questions[1].lines[0] == "copy: string  # below columns"
    assert "copy" in {i.name for i in load_spec(pasted(proposal, 1)).inputs}
    spec = load_spec(pasted(proposal, 2))
    assert (spec.split.by, list(spec.clean.reject)) == ("time", ["stray_label"])


def test_a_number_that_may_weigh_the_rows_is_asked_about(init, chance) -> None:
    table = labels(chance)
    weights = [round(chance.uniform(100, 9000), 1) for _ in table["y"]]
    proposal = init({**table, "fnlwgt": weights}, "y")
    assert proposal.draft.questions[0].text.startswith("'fnlwgt' may say how much a row counts")
    spec = load_spec(pasted(proposal, 0))
    assert spec.weight == "fnlwgt"
    assert [i.name for i in spec.inputs] == ["x"]


def test_a_draft_asks_three_questions_at_most(init, chance) -> None:
    table: Mapping[str, list[Any]] = stamps(chance)
    y = [chance.choice(["yes", "no"]) for _ in table["x"]]
    table |= {"copy": [v.upper() for v in y], "y_later": [f"{v}!" for v in y]}
    table["most"] = [v if i % 40 else "no" for i, v in enumerate(y)]
    y[5] = "oh"
    proposal = init({**table, "y": y}, "y")
    questions = proposal.draft.questions
    assert len(questions) == 3
    assert "two classes" in questions[0].text
    assert any("if later rows are to be predicted" in remark for remark in proposal.draft.remarks)


def test_amounts_of_which_some_are_bounds_are_numbers_once_these_are_missing(
    init, chance, tmp_path
) -> None:
    table = labels(chance)
    table["dose"] = ["<0.5" if i % 9 == 0 else f"{chance.uniform(1, 9):.2f}" for i in range(300)]
    proposal = init(table, "y")
    assert proposal.spec.columns.get("dose", "string") == "string"
    [question] = [q for q in proposal.draft.questions if "'dose'" in q.text]
    assert question.text == (
        "'dose' looks like amounts, but '<0.5' is no number, so it stays text. To read it as "
        "missing, replace its lines with these"
    )
    spec = load_spec(pasted(proposal, proposal.draft.questions.index(question)))
    assert spec.columns["dose"] == "float"
    assert rows_of(spec, tmp_path / "out")["rows"]["rejected"] == 0


def test_amounts_with_few_values_are_categories_until_their_units_are_one(init, chance) -> None:
    table = labels(chance)
    table["price"] = [f"{chance.choice(['EUR', '€'])} {i % 20}.50" for i in range(300)]
    proposal = init(table, "y")
    assert proposal.spec.columns["price"] == "string"
    [question] = proposal.draft.questions
    assert question.lines == (
        "price: {type: float, unit: [EUR, €]}  # below columns",
        "# - {name: price, from: price, transform: vocabulary}",
        "- {name: price, from: price, transform: standardize}",
    )
    assert "price" in {i.name for i in load_spec(pasted(proposal, 0)).inputs}


def test_thousands_that_may_be_a_fraction_are_asked_about(init, chance, tmp_path) -> None:
    table = labels(chance)
    table["area"] = [f'"{chance.randint(1, 9)},{chance.randint(100, 999)}"' for _ in range(300)]
    proposal = init(table, "y")
    assert proposal.draft.questions[0].text == (
        "'area': no value shows whether 1,234 is 1234, as it is read, or 1.234: if that is right, "
        "replace its line"
    )
    assert proposal.spec.columns["area"] == "int"
    spec = load_spec(pasted(proposal, 0))
    assert spec.declared["area"].decimal == ","
    assert rows_of(spec, tmp_path / "out")["rows"]["rejected"] == 0


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ("<5", "'<5' is no number"),
        ("3-4", "'3-4' is no number"),
        ("6k", "its numbers are to be multiplied by 'k'"),
    ],
)
def test_amounts_that_are_not_understood_are_called_so_as_a_target(
    init, chance, odd: str, why: str
) -> None:
    table = labels(chance)
    table["cost"] = [odd if i % 9 == 0 else f"{chance.uniform(1, 99):.3f}" for i in range(300)]
    with pytest.raises(SpecError, match=f"target 'cost': it looks like amounts, but {why}"):
        init(table, "cost")


DAYS = [datetime.datetime(2024, 1, 30, 9, 15) + datetime.timedelta(hours=31 * i) for i in range(99)]


@pytest.mark.parametrize(
    "written",
    [
        *("%b %d %H:%M:%S", "%H:%M", "%H:%M:%S", "%I %p", "%I:%M %p", "%b %Y", "%b-%y", "%m/%Y"),
        *("%Y-%m", "%G-W%V", "%Y-%j", "%B %dth %Y", "%dth of %B %Y", "%d/%m/%Y %I:%M:%S a.m."),
        *("%Y-%m-%d %H:%M:%S Europe/Berlin", "%d. März %Y", "%d de enero de %Y"),
        *("Mo. %d. Mai %Y", "lundi %d mai %Y", "%d/%m/%Y à partir de %H:%M", "%Y/%m/%d ca."),
    ],
)
def test_what_looks_like_a_time_that_no_format_reads_is_asked_about(
    init, chance, written: str
) -> None:
    table = labels(chance, 99)
    table["made"] = [day.strftime(written) for day in DAYS]
    proposal = init(table, "y", delimiter=";")
    texts = [question.text for question in proposal.draft.questions]
    assert any(text.startswith("'made' looks like times, as ") for text in texts)


@pytest.mark.parametrize(
    "text",
    [
        "SKU-2023-0042",
        "10:7",
        "v1.2.3",
        "12 Main Street",
        "Jane 12",
        "May",
        "192.168.1.20",
        "2023-0042-17-B",
        "2024 km 12 - 40",
    ],
)
def test_texts_with_digits_that_are_no_times_are_not_asked_about(init, chance, text: str) -> None:
    table = labels(chance, 99)
    table["made"] = [f"{text}{i % 3}" for i in range(99)]
    assert [q for q in init(table, "y").draft.questions if "'made'" in q.text] == []


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_an_epoch_under_another_name_is_asked_about(init, chance, unit: str, factor: int) -> None:
    table = labels(chance, 99)
    moments = [int(day.replace(tzinfo=datetime.UTC).timestamp()) * factor for day in DAYS]
    proposal = init({**table, "tick": moments}, "y")
    assert "seconds since 1970, from 2024-01-30 to 2024-06-04" in proposal.draft.questions[0].text
    spec = load_spec(pasted(proposal, 0))
    assert spec.spellings["tick"].epoch == unit
    assert [f.name for f in spec.features if "tick" in f.columns] == ["tick_hour"]


def test_times_that_lie_years_after_all_others_are_asked_about(init, chance, tmp_path) -> None:
    table = labels(chance)
    years = [2046 + i % 9 if i % 37 == 0 else 1970 + i % 45 for i in range(300)]
    table["released"] = [f"{year}-{1 + i % 12:02}-{1 + i % 28:02}" for i, year in enumerate(years)]
    proposal = init(table, "y")
    (question,) = proposal.draft.questions
    assert question.text.startswith("'released' has 9 rows from 2046-01-01 on, and none in the ye")
    manifest = rows_of(load_spec(pasted(proposal, 0)), tmp_path / "out")
    assert manifest["reasons"]["far_ahead"]["rows"] == 9
    table["released"] = [day.replace("20", "19", 1) for day in table["released"]]
    assert init(table, "y").draft.questions == []


@pytest.mark.parametrize(
    ("name", "is_asked"),
    [
        *((name, True) for name in ("weight", "sample_weight", "wt", "HH Weight", "weight_2")),
        *((name, False) for name in ("curb-weight", "weight_kg", "birth weight", "Weight (lbs)")),
    ],
)
def test_a_weight_that_a_scale_shows_does_not_count_rows(init, chance, name, is_asked) -> None:
    table = {name: [chance.randint(50, 5000) for _ in range(300)], **labels(chance)}
    asked = [q.text for q in init(table, "y").draft.questions]
    assert any("may say how much a row counts" in text for text in asked) == is_asked


@pytest.mark.parametrize(
    ("target", "others", "alike"),
    [
        ("Class1", ["Class2", "Class13", "Att1", "Att2", "Att3"], ["Class2", "Class13"]),
        ("G3", ["G1", "G2", "sex", "age", "school"], ["G1", "G2"]),
        ("y_2020", ["y_2019", "x_2020", "a", "b"], ["y_2019"]),
    ],
)
def test_columns_numbered_like_the_target_are_asked_about(
    init, chance, target: str, others: list[str], alike: list[str]
) -> None:
    table = {name: [round(chance.random(), 4) for _ in range(300)] for name in others}
    table[target] = [chance.choice("ab") for _ in range(300)]
    (question,) = init(table, target).draft.questions
    told = "; ".join(f"{name!r} is named like the target" for name in alike)
    assert question.text.startswith(f"{told}: is each of them known" if len(alike) > 1 else told)


@pytest.mark.parametrize(
    ("name", "first", "number"),
    [
        ("order_date", 42_736, '"order_date" - 25569'),  # in a spreadsheet
        ("ordinal_date", 736_330, '"ordinal_date" - 719163'),  # date.toordinal() in Python
        ("day", 17_167, '"day"'),  # since 1970, as in R
    ],
)
def test_a_count_of_days_is_asked_about_with_the_split_by_it(
    init, chance, name: str, first: int, number: str
) -> None:
    table = {name: [first + i for i in range(300)], **labels(chance)}  # from 2017-01-01 on
    (question,) = init(table, "y").draft.questions
    assert question.text.startswith(
        f"{name!r} seems to count days, and train has rows of the newest, from 2017-09-27 on: if "
    )
    derived, split = (yaml.safe_load(line) for line in question.lines[-2:])
    sql = f"TRY(DATE '1970-01-01' + CAST({number} AS INTEGER))"
    assert derived == {"clean": {"derive": {"moment": sql}}}
    assert split["split"]["test_from"] == "2017-09-27"


def test_small_numbers_called_days_are_no_dates(init, chance) -> None:
    table = {"days": [chance.randint(0, 4000) for _ in range(300)], **labels(chance)}
    assert init(table, "y").draft.questions == []
