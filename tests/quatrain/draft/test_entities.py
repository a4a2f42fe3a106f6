"""Entities: rows of one person stand in one split, whatever the columns are called."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from quatrain.components.specification.split import HashSplit
from quatrain.draft.entities import Groups


def panel(
    chance: random.Random, key: Sequence[Any], rows_each: int, shuffled: bool = False
) -> dict[str, list[Any]]:
    """Returns a table of a few rows for each key, with a label that goes by the key."""
    rows = []
    for k in key:
        school, region, u = chance.randint(8, 15), f"r{chance.randint(0, 3)}", chance.random()
        for t in range(rows_each):
            joined = "yes" if chance.random() < u else "no"
            rows.append((k, school, region, t, f"{1 + u + chance.random():.4f}", joined))
    if shuffled:
        chance.shuffle(rows)
    names = ("nr", "school", "region", "t", "wage", "joined")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def keys_of(init: Any, table: Mapping[str, Sequence[Any]], target: str = "joined") -> list[str]:
    proposal = init(table, target)
    assert isinstance(proposal.spec.split, HashSplit)
    keys = proposal.spec.split.keys
    assert not {i.name for i in proposal.spec.inputs} & set(keys) or len(keys) > 1
    return list(keys)


def without(table: dict[str, list[Any]], *names: str) -> dict[str, list[Any]]:
    return {name: values for name, values in table.items() if name not in names}


def numbers(chance: random.Random) -> list[Any]:
    return chance.sample(range(13_000), 300)


def texts(chance: random.Random) -> list[Any]:
    return [f"{k:x}" for k in numbers(chance)]


def floats(chance: random.Random) -> list[Any]:
    return [float(k) for k in numbers(chance)]


@pytest.mark.parametrize("key", [numbers, texts, floats])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_column_within_which_others_stay_the_same_is_the_key(
    init, chance, key: Any, shuffled: bool
) -> None:
    table = without(panel(chance, key(chance), 8, shuffled), "t")
    assert keys_of(init, table) == ["nr"]


def test_a_person_of_hundreds_of_rows_is_the_key(init, chance) -> None:
    people = chance.sample(range(1000), 40)
    assert keys_of(init, panel(chance, people, 200, shuffled=True)) == ["nr"]
    assert keys_of(init, without(panel(chance, people[:16], 300), "t")) == ["nr"]


def test_one_constant_column_is_enough_where_a_visit_tells_the_rows_apart(init, chance) -> None:
    table = panel(chance, numbers(chance), 5)
    assert keys_of(init, without(table, "region")) == ["nr"]


def test_two_columns_name_a_person_together(init, chance) -> None:
    rows = []
    for place in range(25):
        kind = chance.choice(["urban", "rural"])
        for pupil in range(1, 25):
            sex, born = chance.choice("mf"), chance.randint(2000, 2006)
            for _ in range(5):
                score = f"{chance.gauss(50, 9):.2f}"
                rows.append((place, kind, pupil, sex, born, chance.randint(0, 30), score))
    names = ("place", "kind", "pupil", "sex", "born", "hours", "score")
    table = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    assert keys_of(init, table, "score") == ["place", "pupil"]


def test_what_names_the_person_as_well_is_no_feature(init, chance) -> None:
    table = panel(chance, numbers(chance), 6)
    table["called"] = [f"name {n}" for n in table["nr"]]
    proposal = init(table, "joined")
    assert {"nr", "called"}.isdisjoint(i.name for i in proposal.spec.inputs)
    assert {"school", "region", "wage"} <= {i.name for i in proposal.spec.inputs}


def storms(chance: random.Random) -> dict[str, list[Any]]:
    rows = []
    for year in range(1975, 2006):
        for i, name in enumerate(chance.sample(["Amy", "Bob", "Cleo", "Dan", "Eve", "Fay"], 4)):
            wind, lat, first = chance.randint(25, 60), chance.uniform(10, 30), chance.randint(1, 15)
            for t in range(chance.randint(10, 50)):
                wind, lat = wind + chance.randint(-5, 5), lat + chance.uniform(-0.5, 0.8)
                rows.append((name, year, 6 + i, first + t // 4, t % 4 * 6, round(lat, 1), wind))
    names = ("name", "year", "month", "day", "hour", "lat", "wind")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def test_rows_hours_apart_that_tell_one_course_stand_in_one_split(init, chance) -> None:
    table = storms(chance)
    assert sorted(keys_of(init, table, "wind")) == ["name", "year"]
    numbers = {"Amy": 0, "Bob": 1, "Cleo": 2, "Dan": 3, "Eve": 4, "Fay": 5}
    ids = [100 * y + numbers[n] for n, y in zip(table["name"], table["year"], strict=True)]
    one = {**without(table, "name"), "no": [i * 7919 % 10_007 for i in ids]}
    assert keys_of(init, one, "wind") == ["no"]


def test_rows_of_any_order_beside_a_sorted_column_are_no_course(init, chance) -> None:
    place = [f"p{i // 20}" for i in range(1200)]
    x = [round(chance.random(), 4) for _ in place]
    y = [v + chance.random() for v in x]
    proposal = init({"place": place, "x": x, "y": y}, "y")
    assert "what a row is about" not in proposal.path.read_text()


def ages(chance: random.Random) -> dict[str, list[Any]]:
    age = [chance.randint(18, 90) for _ in range(2000)]
    return {"age": age, "decade": [a // 10 for a in age], "adult": [int(a > 21) for a in age]}


def places(chance: random.Random) -> dict[str, list[Any]]:
    code = [chance.randint(0, 150) for _ in range(2000)]
    return {"area": code, "city": [f"c{c // 10}" for c in code], "land": [c // 40 for c in code]}


def products(chance: random.Random) -> dict[str, list[Any]]:
    a, b = ([chance.randint(1, 40) for _ in range(2000)] for _ in "ab")
    sums = [x + y for x, y in zip(a, b, strict=True)]
    return {"a": a, "b": b, "sum": sums, "area": [x * y for x, y in zip(a, b, strict=True)]}


def copies(chance: random.Random) -> dict[str, list[Any]]:
    x, a, b = ([chance.randint(0, n) for _ in range(1000)] for n in (9999, 3, 4))
    return {"x": x * 2, "a": a * 2, "b": b * 2}


@pytest.mark.parametrize("columns", [ages, places, products, copies])
def test_what_is_computed_of_a_column_makes_it_no_entity(init, chance, columns: Any) -> None:
    table = columns(chance)
    x = [f"{chance.random():.5f}" for _ in range(2000)]
    y = [chance.choice("ab") for _ in range(1000)] * 2
    if columns is copies:
        x = x[:1000] * 2
    proposal = init({**table, "x": x, "y": y}, "y")
    assert "what a row is about" not in proposal.path.read_text()


def test_a_number_of_many_shuffled_rows_each_is_asked_about_beside_its_ages(init, chance) -> None:
    # Nearly each person has an age of their own, which is no range of the numbers of persons.
    people = [(p, chance.randint(18, 80), chance.choice("abcd")) for p in range(40)]
    rows = [(*person, round(chance.random(), 4), chance.choice("ab")) for person in people * 80]
    chance.shuffle(rows)
    proposal = init(
        dict(zip(["n", "age", "town", "v", "y"], zip(*rows, strict=True), strict=True)), "y"
    )
    (question,) = proposal.draft.questions
    assert question.text.startswith("'n' may identify what a row is about: about 80 rows each")


def test_two_columns_name_a_household_whose_rows_stand_apart(init, chance) -> None:
    rows = []
    for village, house in product(range(20), range(12)):
        income, roof = round(chance.gauss(30, 9), 2), chance.choice(["tin", "tile", "thatch"])
        for _ in range(chance.randint(2, 5)):
            rows.append((village, house, income, roof, chance.randint(0, 80), chance.choice("ab")))
    chance.shuffle(rows)
    names = ["village", "house", "income", "roof", "age", "y"]
    proposal = init(dict(zip(names, zip(*rows, strict=True), strict=True)), "y")
    assert proposal.spec.split.keys == ("village", "house")


def test_a_station_known_by_its_latitude_keeps_its_course_together(init, chance) -> None:
    rows = []
    for _ in range(40):
        place = round(chance.uniform(40, 50), 4), round(chance.uniform(0, 10), 4)
        warm = chance.gauss(10, 5)
        for hour in range(24):
            warm += chance.gauss(0, 0.5)
            rows.append((*place, hour, round(warm, 2), round(chance.gauss(0, 1), 3)))
    proposal = init(
        dict(zip(["lat", "lon", "hour", "warm", "y"], zip(*rows, strict=True), strict=True)), "y"
    )
    assert proposal.spec.split.keys == ("lat",)
    assert "in which 'warm' changes little from row to row" in proposal.draft.comments["split"]


def test_what_varies_in_some_pairs_of_rows_is_not_compared_in_all(chance) -> None:
    person = np.repeat(np.arange(50), 6)
    codes = {"same": person * 7 % 5, "other": np.arange(300) % 11}
    assert Groups(person).may_be_constant(codes) == {"same"}
    assert Groups(np.arange(300)).may_be_constant(codes) == {"same", "other"}


def test_a_column_that_tells_all_rows_apart_makes_no_panel(init, chance) -> None:
    # Half of the people were never treated, 'stage' nearly cuts the days, and no weight repeats.
    days = [0 if chance.random() < 0.5 else chance.randint(1, 200) for _ in range(600)]
    stage = [2 if d in (40, 60, 80) else (d > 0) + (d > 100) for d in days]
    weight = [i + chance.randint(0, 8) * 1000 for i in range(600)]
    table = {"days": days, "stage": stage, "grams": weight}
    table["y"] = [chance.choice("ab") for _ in days]
    split = init(table, "y").spec.split
    assert isinstance(split, HashSplit)
    assert "days" not in split.keys


def test_what_is_measured_along_a_series_names_nothing(init, chance) -> None:
    # Of two polls a day, one is published anew each twelfth day.
    polls = [[40.0], [38.0]]
    for _ in range(599):
        for poll in polls:
            poll.append(round(poll[-1] + chance.uniform(-0.5, 0.5), 3))
    table = {"weekly": [polls[0][i // 12] for i in range(600)], "daily": polls[1]}
    table |= {"noise": [round(chance.random(), 4) for _ in range(600)]}
    split = init(table | {"y": [chance.choice("ab") for _ in range(600)]}, "y").spec.split
    assert isinstance(split, HashSplit)
    assert "weekly" not in split.keys
