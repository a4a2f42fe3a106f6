"""Columns of numbers as people write them, and what only looks like numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.draft.profile.amounts import Amounts, dots_between_thousands, find_amounts

Write = Callable[[random.Random], str]


def amounts_of(
    values: list[str], comma: bool | None = None, prefers_comma: bool = False
) -> Amounts | None:
    counted = pa.array(values).value_counts()
    counts = np.asarray(counted.field("counts").to_numpy())
    return find_amounts(counted.field("values"), counts, comma, prefers_comma)


def column(write: Write) -> list[str]:
    chance = random.Random(1)  # noqa: S311 - not for secrets
    return [write(chance) for _ in range(60)]


def american(c: random.Random) -> str:
    return f"{c.uniform(1, 9999):,.2f}"


def german(c: random.Random) -> str:
    return american(c).translate(str.maketrans(",.", ".,"))


def french(c: random.Random) -> str:
    return german(c).replace(".", "\u202f")


UNDERSTOOD: dict[str, tuple[Write, dict[str, Any]]] = {
    "german": (german, {"decimal": ",", "thousands": "."}),
    "euros": (lambda c: f"{german(c)} EUR", {"decimal": ",", "thousands": ".", "unit": "EUR"}),
    "french": (lambda c: f"{french(c)}\xa0€", {"decimal": ",", "thousands": " ", "unit": "€"}),
    "swiss": (
        lambda c: f"CHF {american(c).replace(',', '’')}",  # noqa: RUF001
        {"thousands": "'", "unit": "CHF"},
    ),
    "indian": (
        lambda c: f"₹{c.randint(1, 9)},{c.randint(10, 99)},{c.randint(100, 999)}.50",
        {"thousands": ",", "unit": "₹"},
    ),
    "accounting": (
        lambda c: f"({american(c)})" if c.random() < 0.3 else american(c),
        {"thousands": ","},
    ),
    "SAP": (lambda c: f"{german(c)}{c.choice(['', '-'])}", {"decimal": ",", "thousands": "."}),
    "plain SAP": (lambda c: f"{c.uniform(1, 99):.1f}{c.choice(['', '-'])}", {"decimal": "."}),
    "per cents": (lambda c: f"{c.uniform(0, 99):.1f} %", {"unit": "%"}),
    "words": (lambda c: f"{c.randint(1, 99)} per cent", {"unit": "per cent"}),
    "weights": (lambda c: f"{c.randint(1, 99)} kg", {"unit": "kg"}),
    "two cases": (
        lambda c: f"{c.randint(1, 99)}{c.choice(['kg', ' KG'])}",
        {"unit": ["KG", "kg"]},
    ),
    "areas": (lambda c: f"{c.randint(1, 9999)} sq. ft.", {"unit": "sq. ft."}),
    "rupees": (lambda c: f"Rs.{c.randint(1, 9999)}.50", {"unit": "Rs."}),
    "dutch": (
        lambda c: f"€ {c.randint(1, 999)},-",
        {"decimal": ",", "unit": [",-", "€"]},
    ),
    "some without": (
        lambda c: f"{c.choice(['£', ''])}{american(c)}",
        {"thousands": ",", "unit": "£"},
    ),
    "sciences": (lambda c: f"{c.uniform(0, 1):.2e}".replace(".", ","), {"decimal": ","}),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_numbers_as_people_write_them_are_declared_as_they_are_written(name: str) -> None:
    write, keys = UNDERSTOOD[name]
    assert amounts_of(column(write)) == Amounts({"type": "float", **keys}, 0)


def test_whole_numbers_with_thousands_are_integers() -> None:
    millions = column(lambda c: f"{c.randint(1, 9)},{c.randint(100, 999)},500")
    assert amounts_of(millions) == Amounts({"type": "int", "thousands": ","}, 0)


COMMAS, COMMA = {"type": "int", "thousands": ","}, {"type": "float", "decimal": ","}
UNSURE = column(lambda c: f"{c.randint(1, 9)},{c.randint(100, 999)}")


@pytest.mark.parametrize(
    ("values", "comma", "prefers", "declared", "other"),
    [
        (UNSURE, None, False, COMMAS, COMMA),
        (UNSURE, None, True, COMMA, COMMAS),
        (UNSURE, True, False, COMMA, None),
        (UNSURE, False, True, COMMAS, None),
        ([*UNSURE, "1234"], None, False, COMMA, None),
        ([*UNSURE, "0,123"], None, False, COMMA, None),
        ([*UNSURE, "1,5"], None, False, COMMA, None),
        ([*UNSURE, "1,234,567"], None, True, COMMAS, None),
        ([f"{v} €" for v in UNSURE], True, False, {**COMMA, "unit": "€"}, None),
    ],
)
def test_all_values_together_decide_between_a_fraction_and_thousands(
    values: list[str], comma: bool | None, prefers: bool, declared: Any, other: Any
) -> None:
    assert amounts_of(values, comma, prefers) == Amounts(declared, 0, other)


DOTS = column(lambda c: f"{c.randint(1, 9)}.{c.randint(100, 999)}")


@pytest.mark.parametrize(
    ("values", "comma", "prefers", "other"),
    [
        ([*DOTS, *map(str, range(100, 110))], None, False, {"type": "float"}),
        ([*DOTS[:9], "12"], None, True, {"type": "float"}),
        (DOTS, True, False, None),
    ],
)
def test_numbers_such_as_1234_and_987_may_have_dots_between_thousands(
    values: list[str], comma: bool | None, prefers: bool, other: Any
) -> None:
    found = dots_between_thousands(pa.array(values).unique(), comma, prefers)
    assert found == Amounts({"type": "int", "thousands": "."}, 0, other)


@pytest.mark.parametrize(
    ("values", "comma"),
    [
        (DOTS, None),
        ([*DOTS, "12"], False),
        ([*DOTS, "0.123", *map(str, range(100, 110))], None),
        ([*DOTS, "1.5", *map(str, range(100, 110))], True),
    ],
)
def test_a_fraction_after_a_dot_stays_one(values: list[str], comma: bool | None) -> None:
    assert dots_between_thousands(pa.array(values).unique(), comma, False) is None


NOT_UNDERSTOOD: dict[str, tuple[Write, str]] = {
    "bounds": (
        lambda c: "<0.5" if c.random() < 0.1 else f"{c.uniform(1, 9):.2f}",
        "'<0.5' is no number",
    ),
    "bounds alone": (
        lambda c: c.choice("<>") + str(c.randint(10, 20)),
        "'<19', '<14', '<17' and 15 more are no numbers",
    ),
    "ranges": (
        lambda c: "3-4" if c.random() < 0.1 else str(c.randint(1, 99)),
        "'3-4' is no number",
    ),
    "marks": (
        lambda c: "7.5*" if c.random() < 0.1 else f"{c.uniform(1, 9):.2f}",
        "'7.5*' is no number",
    ),
    "magnitudes": (
        lambda c: f"{c.uniform(1, 9):.1f}{c.choice('kM')}",
        "its numbers are to be multiplied by 'M' and 'k'",
    ),
    "millions": (
        lambda c: f"{c.uniform(1, 9):.1f} Mio. €",
        "its numbers are to be multiplied by 'Mio. €'",
    ),
    "currencies": (
        lambda c: f"{c.choice(['EUR', 'USD'])} {c.randint(1, 999)}",
        "the units 'EUR' and 'USD' differ",
    ),
    "units": (
        lambda c: f"{c.randint(1, 99)} {c.choice(['kg', 'g'])}",
        "the units 'g' and 'kg' differ",
    ),
    "some per cents": (
        lambda c: f"{c.randint(1, 99)}%" if c.random() < 0.6 else f"{c.random():.2f}",
        "some values have the unit '%', and others have none",
    ),
}


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_what_looks_like_amounts_says_why_it_is_none(name: str) -> None:
    write, why = NOT_UNDERSTOOD[name]
    found = amounts_of(column(write))
    assert found
    assert found.why == why


@pytest.mark.parametrize("zero", [0x660, 0x6F0, 0x966, 0xFF10])
@pytest.mark.parametrize("separator", ["", "\u066b", "."])
def test_numbers_in_digits_that_no_type_reads_look_like_amounts(zero: int, separator: str) -> None:
    digits = {ord(str(i)): chr(zero + i) for i in range(10)}
    texts = [f"{i * 37 % 41}{separator}{i}".translate(digits) for i in range(1, 41)]
    found = amounts_of(texts)
    assert found
    assert found.why.endswith("more are no numbers")


def test_a_half_is_a_part_of_its_number_and_no_unit() -> None:
    found = amounts_of([f"{i}½" for i in range(1, 41)])
    assert found
    assert found.why.endswith("more are no numbers")


IN_PARTS: dict[str, Write] = {
    "brackets": lambda c: f"[{c.randint(1, 999)}]",
    "at least": lambda c: f"{c.randint(1, 999)}+",
    "about": lambda c: f"ca. {c.randint(1, 999)}",
    "tolerances": lambda c: f"{c.randint(1, 999)}{c.choice(['±', ' +/- '])}{c.randint(1, 9)}",
    "credit and debit": lambda c: f"{c.randint(1, 999)}.00 {c.choice(['CR', 'DR'])}",
    "fractions": lambda c: f"{c.randint(1, 99)} {c.choice(['1/2', '3/4', '5/8'])}",
    "durations": lambda c: f"{c.randint(1, 23)}h {c.randint(0, 59)}m",
    "feet": lambda c: f"{c.randint(4, 6)}'{c.randint(0, 11)}\"",
    "degrees": lambda c: f"{c.randint(1, 89)}°{c.randint(0, 59)}'{c.choice('NS')}",
    "latitudes": lambda c: f"{c.randint(1, 89)}.{c.randint(100, 999)} {c.choice('NS')}",
    "whole euros": lambda c: f"{c.randint(1, 999)},-- €",
    "powers": lambda c: f"{c.randint(1, 99)}x10^{c.randint(2, 6)}",
}


@pytest.mark.parametrize("name", IN_PARTS)
def test_numbers_in_marks_or_parts_look_like_amounts_instead_of_text(name: str) -> None:
    chance = random.Random(name)  # noqa: S311
    found = amounts_of([IN_PARTS[name](chance) for _ in range(200)])
    assert found
    assert found.why.endswith("more are no numbers")


NAMES: dict[str, Write] = {
    "ranges alone": lambda c: f"{c.randint(1, 9)}-{c.randint(10, 20)}",
    "postal numbers": lambda c: f"{c.randint(98101, 98199)}{c.choice(['', '', '-4820'])}",
    "phones": lambda c: f"555-{c.randint(1000, 9999)}",
    "addresses of machines": lambda c: ".".join(str(c.randint(0, 255)) for _ in range(4)),
    "streets": lambda c: f"{c.randint(1, 99)} {c.choice(['Main', 'Oak', 'Elm'])} St",
    "flats": lambda c: f"{c.randint(1, 99)}{c.choice('ABC')}",
    "houses": lambda c: f"{c.randint(1, 99)} {c.choice('xyz')}",
    "rooms": lambda c: f"Room {c.randint(1, 99)}",
    "versions": lambda c: f"{c.randint(1, 9)}.{c.randint(1, 9)}.{c.randint(1, 9)}",
    "hours": lambda c: f"{c.randint(1, 23)}:{c.randint(10, 59)}",
    "companies": lambda c: " ".join(str(c.randint(100, 999)) for _ in range(3)),
    "accounts": lambda c: ".".join(str(c.randint(100, 999)) for _ in range(3)),
    "scores": lambda c: f"{c.randint(0, 5)}-{c.randint(0, 5)}",
    "few numbers": lambda c: c.choice(["1", "2", "3", "4", "5+"]),
    "few doses": lambda c: c.choice(["10 mg", "20 mg", "40 mg"]),
    "words": lambda c: f"the {c.randint(1, 99)} dogs barked at {c.randint(1, 9)}",
}


@pytest.mark.parametrize("name", NAMES)
def test_digits_that_name_something_are_no_amounts(name: str) -> None:
    assert amounts_of(column(NAMES[name])) is None
