"""The profiles of columns: types, kinds, spellings of missing values."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from quatrain.draft.profile.column_names import names_an_entity, words
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.columns import profile_columns
from quatrain.draft.profile.nulls import Nulls, find_nulls
from quatrain.draft.sample.sample import Sample
from quatrain.draft.sample.sampling import draw_sample


def sampled(folder: Path, *columns: tuple[str, list[str]], delimiter: str = ",") -> Sample:
    names, values = zip(*columns, strict=True)
    rows = [delimiter.join(r) for r in zip(*values, strict=True)]
    path = folder / "t.csv"
    path.write_text("\n".join([delimiter.join(names), *rows]) + "\n")
    return draw_sample(str(path))


def profile_of(folder: Path, values: list[str], name: str = "x", other: str = "z") -> ColumnProfile:
    sample = sampled(folder, (name, values), (other, ["1"] * len(values)))
    return profile_columns(sample, find_nulls(sample, other).spellings)[name]


@pytest.mark.parametrize(
    ("name", "values", "type_", "kind"),
    [
        ("n", ["1", "2", "-3"], "int", "number"),
        ("n", ["1", "2.5", "1e3"], "float", "number"),
        ("n", ["true", "False", "TRUE"], "bool", "category"),
        ("n", ["2013-01-01", "2013-01-02", ""], "date", "time"),
        ("n", ["2013-01-01 10:00:00", "2013-01-02T00:00:00Z", ""], "timestamp", "time"),
        ("n", ["01234", "99999", "01234"], "string", "code"),
        ("n", ["12345678901234567890", "12345678901234567891", ""], "string", "code"),
        ("zip", ["12345", "54321", "12345"], "int", "code"),
        ("zipline length", ["12345", "54321", "12345"], "int", "number"),
        ("n", ["17031081401", "17031980100"] * 30, "int", "code"),
        ("n", ["a", "b", "a"], "string", "category"),
        ("n", [f"user {i}" for i in range(30)], "string", "identifier"),
        ("n", [str(1000 + i) for i in range(30)], "int", "identifier"),
        ("user_id", [str(i * i) for i in range(30)], "int", "identifier"),
        ("n", [str(i * 37 % 101) for i in range(30)], "int", "number"),
        ("n", [f"the cat sat on mat {i}" for i in range(30)], "string", "text"),
        ("n", ["5", "5", "5"], "int", "constant"),
        ("n", ["", "NA", ""], "string", "empty"),
        ("day", ["20130131", "20130201", "20130202"], "date", "time"),
        ("date", [f"8001{i:02}" for i in range(10, 31)], "date", "time"),
        ("date", [f"8013{i:02}" for i in range(10, 31)], "int", "number"),
        ("n", ["20130131", "20139901", "20130202"], "int", "number"),
        ("gain", ["+5", "-3", "+12"], "int", "number"),
        ("reach", [f"+4930123{i:04}" for i in range(30)], "string", "identifier"),
        ("price", ["$1,234.50", "$9.00", "-$3"], "float", "number"),
        ("share", ["12%", "7.5%", "100%"], "float", "number"),
        ("loss", ["(1,200.50)", "7.00", "1,000"], "float", "number"),
        ("fee", ["USD 12.30", "USD 7", "USD 1,000"], "float", "number"),
        ("gehalt", ["1\u202f200,50", "7,00", "12\u202f000"], "float", "number"),
        ("mass", [f"{i}.5 kg" for i in range(12)], "float", "number"),
        ("month", ["2024-01", "2024-02"] * 9, "string", "category"),
        ("size", ["10 kg", "20 kg"] * 9, "string", "category"),
    ],
)
def test_the_values_say_the_type_and_what_they_are_for(
    tmp_path: Path, name: str, values: list[str], type_: str, kind: str
) -> None:
    quoted = [f'"{v}"' for v in values]
    column = profile_of(tmp_path, quoted, name)
    assert (column.type, column.kind) == (type_, kind)


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        (["31/12/2013", "01/02/2014"], {"type": "date", "format": "%d/%m/%Y"}),
        (["12/31/2013", "01/02/2014"], {"type": "date", "format": "%m/%d/%Y"}),
        (["31.12.2013 10:30", "1.2.2014 9:05"], {"type": "timestamp", "format": "%d.%m.%Y %H:%M"}),
        (["20130131", "20130201"], {"type": "date", "format": "%Y%m%d"}),
        (["03/04/2013", "01/02/2014"], "string"),
    ],
)
def test_dates_in_other_formats_are_times_unless_day_and_month_may_be_swapped(
    tmp_path: Path, values: list[str], declared: Any
) -> None:
    column = profile_of(tmp_path, values)
    assert (column.declared, column.kind) == (declared, "time")


def test_an_epoch_is_a_time_where_the_name_says_so(tmp_path: Path) -> None:
    values = [str(1_400_000_000 + 7 * i * i) for i in range(30)]
    column = profile_of(tmp_path, values, "start_time")
    assert (column.declared, column.kind) == ({"type": "timestamp", "epoch": "s"}, "time")
    assert column.values[0].as_py() == datetime.datetime(2014, 5, 13, 16, 53, 20)
    assert profile_of(tmp_path, values, "amount").kind == "number"


def test_categories_that_differ_by_blanks_or_case_alone_are_one(tmp_path: Path) -> None:
    column = profile_of(tmp_path, ["Yes", "yes ", "no", "No"] * 5)
    assert column.declared == {"type": "string", "trim": True, "case": "lower"}
    assert sorted(column.values.unique().to_pylist()) == ["no", "yes"]
    assert profile_of(tmp_path, ["Yes", "No"] * 5).declared == "string"


def test_blanks_around_most_texts_are_removed(tmp_path: Path) -> None:
    column = profile_of(tmp_path, [" Ulm", " Bonn", "Kiel"] * 7)
    assert column.declared == {"type": "string", "trim": True}
    assert sorted(column.values.unique().to_pylist()) == ["Bonn", "Kiel", "Ulm"]
    assert profile_of(tmp_path, [" Ulm", "Bonn", "Kiel"] * 7).declared == "string"
    codes = profile_of(tmp_path, [f" 0{i}" for i in range(10, 20)] * 3)
    assert (codes.declared, codes.kind) == ({"type": "string", "trim": True}, "code")


def test_a_few_cells_that_do_not_convert_leave_the_type(tmp_path: Path) -> None:
    column = profile_of(tmp_path, ["7", "8"] * 200 + ["eight"])
    assert (column.type, column.n_bad) == ("int", 1)
    assert profile_of(tmp_path, ["7", "8"] * 20 + ["eight"]).type == "string"


def test_digits_that_name_something_stay_text_beside_other_spellings(tmp_path: Path) -> None:
    values = [str(98101 + i % 20 * 3) for i in range(1000)]
    values[7] += "-4820"
    column = profile_of(tmp_path, values, "zip_code")
    assert (column.type, column.n_bad) == ("string", 0)
    amounts = [str(i % 20 * 3) for i in range(1000)] + ["9-4820"]
    assert (profile_of(tmp_path, amounts, "rooms").type, profile_of(tmp_path, amounts).n_bad) == (
        "int",
        1,
    )


def nulls_of(folder: Path, target: str, *columns: tuple[str, list[str]]) -> Nulls:
    return find_nulls(sampled(folder, *columns), target)


def test_a_known_spelling_among_numbers_is_missing(tmp_path: Path) -> None:
    nulls = nulls_of(tmp_path, "y", ("x", ["1", "-", "None"]), ("y", ["a", "b", "a"]))
    assert nulls == Nulls(("", "None", "-"), ())


def test_a_known_spelling_behind_a_blank_is_missing_too(tmp_path: Path) -> None:
    nulls = nulls_of(tmp_path, "y", ("x", [" 1", " NA", " -"]), ("y", ["a", "b", "a"]))
    assert nulls == Nulls(("", " NA", " -"), ())


def test_a_possible_spelling_among_words_stays_a_value_with_a_remark(tmp_path: Path) -> None:
    nulls = nulls_of(tmp_path, "y", ("x", ["1", "2", "3"]), ("y", ["None", "B", "None"]))
    assert nulls.spellings == ("",)
    assert nulls.remarks[0].startswith("'None' in 'y' is read as a value, not as missing")


@pytest.mark.parametrize(
    "codes",
    [
        ["NA", "DE", "US", "FR"],
        ["NA", "EU", "LA", "APAC"],
        ["NA", "DE", "US", "Côte d'Ivoire", "FR"],
    ],
)
def test_na_among_codes_of_letters_may_be_a_value(tmp_path: Path, codes: list[str]) -> None:
    y = [str(i) for i, _ in enumerate(codes)]
    nulls = nulls_of(tmp_path, "y", ("x", codes), ("y", y))
    assert nulls.spellings == ("", "NA")
    assert nulls.remarks[0].startswith(
        "'NA' in 'x' may be a value: the other values there are codes"
    )


def test_a_class_of_the_target_stays_a_value_though_it_means_missing_among_numbers(
    tmp_path: Path,
) -> None:
    nulls = nulls_of(tmp_path, "y", ("x", ["1", "None", "3"]), ("y", ["None", "B", "A"]))
    assert nulls.spellings == ("",)


def test_a_word_among_many_numbers_is_missing_with_a_remark(tmp_path: Path) -> None:
    numbers = [f"{i}.5" for i in range(30)]
    columns = ("x", [*numbers, "inf", "No data"]), ("y", ["a", "b"] * 16)
    nulls = nulls_of(tmp_path, "y", *columns)
    assert nulls.spellings == ("", "inf", "No data")
    assert nulls.remarks[0] == (
        "'inf' in 'x' stands among numbers or times, and is read as missing"
    )
    # What is a value among words elsewhere stays one.
    columns = ("x", [*numbers, "a", "No data"]), ("y", ["a", "b"] * 16)
    assert nulls_of(tmp_path, "y", *columns).spellings == ("", "No data")
    # So is the dash of an accountant, in any column.
    dashes = ("x", [*(f"$ {n} " for n in numbers), "$ -   "]), ("y", ["a", "b"] * 15 + ["a"])
    assert nulls_of(tmp_path, "y", *dashes).spellings == ("", "$ -   ")
    # Amounts as text are numbers, too.
    columns = ("x", [*(f"{n} $" for n in numbers), "-", "n.a."]), ("y", ["a", "b"] * 16)
    assert nulls_of(tmp_path, "y", *columns).spellings == ("", "-", "n.a.")


def test_names_are_cut_into_words() -> None:
    assert words("PassengerId") == {"passenger", "id"}
    assert words("zip-code (US)") == {"zip", "code", "us"}
    assert [names_an_entity(n) for n in ("user_id", "customerid", "paid", "humidity")] == [
        True,
        True,
        False,
        False,
    ]
