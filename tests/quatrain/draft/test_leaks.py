"""One-column models, leaks and twins, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from quatrain.draft.leaks import (
    ColumnModels,
    Goal,
    area,
    bins,
    find_leaks,
    find_twins,
    levels,
    named_classes,
)
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.trainer.features import Task


def number(name: str, values: list[float]) -> ColumnProfile:
    return ColumnProfile(name, "float", "number", pa.array(values, pa.float64()))


def text(name: str, values: list[str]) -> ColumnProfile:
    return ColumnProfile(name, "string", "category", pa.array(values))


def test_the_area_under_the_curve_counts_ties_by_half() -> None:
    # pairs (positive, negative): (.9, .1) and (.9, .5) are right, (.5, .1) is right, (.5, .5) ties
    assert area(np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])) == 3.5 / 4
    assert area(np.array([0.1, 0.2]), np.array([1.0, 1.0])) == 0.5


def test_a_bin_answers_its_mean_with_ten_rows_of_the_prior_mixed_in() -> None:
    goal = Goal("y", "regression", np.array([0.0, 0.0, 6.0, 6.0, 6.0]))
    fitted = np.array([True, True, True, True, False])
    models = ColumnModels(goal, fitted, ~fitted)
    answers = models.answers(levels(text("x", ["a", "a", "b", "b", "b"])))
    assert answers.tolist() == [[(6 + 6 + 10 * 3) / (2 + 10)]]


def test_a_model_of_classes_is_measured_by_its_log_loss() -> None:
    goal = Goal("y", "multiclass", np.array([0.0, 1.0, 2.0, 0.0]), ("a", "b", "c"))
    fitted = np.array([True, True, True, False])
    models = ColumnModels(goal, fitted, ~fitted)
    assert models.trivial == pytest.approx(math.log(3))


def test_a_missing_value_has_the_bin_0_and_few_values_have_one_each() -> None:
    column = ColumnProfile("x", "float", "number", pa.array([None, 2.0, 1.0, 2.0]))
    assert bins(column).tolist() == [0, 1, 2, 1]
    many = number("x", [float(i) for i in range(8)])
    assert bins(many, 4).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def leaks(goal: Goal, *columns: ColumnProfile) -> dict[str, str]:
    return find_leaks(goal, list(columns)).sure


X = [float(i * 37 % 101) for i in range(400)]


def test_a_column_that_repeats_the_classes_is_a_leak_and_a_strong_one_is_none() -> None:
    y = [float(x > 50) for x in X]
    goal = Goal("y", "binary", np.array(y), ("0", "1"))
    mostly = [str(v if i % 10 else 1 - v) for i, v in enumerate(y)]
    suspects = leaks(goal, text("copy", [f"c{v}" for v in y]), text("mostly", mostly))
    assert suspects == {"copy": "alone has an AUC of 1.0000"}


def test_a_number_in_another_unit_is_a_leak() -> None:
    goal = Goal("y", "regression", np.array(X) ** 2)
    noisy = number("noisy", [x * x + (300 if i % 2 else -300) for i, x in enumerate(X)])
    suspects = leaks(goal, number("root", X), noisy)
    assert suspects == {"root": "explains 100.00% of the label's variance"}
    assert list(find_leaks(goal, [noisy]).likely) == ["noisy"]


@pytest.mark.parametrize(("wrong", "is_asked"), [(0.02, True), (0.2, False)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_column_of_few_errors_is_asked_about_for_classes_as_well(
    n_classes: int, wrong: float, is_asked: bool
) -> None:
    y = np.arange(3000) * 7919 % 1009 % n_classes
    odd = np.arange(3000) * 7 % 1000 < wrong * 1000
    task: Task = "binary" if n_classes == 2 else "multiclass"
    goal = Goal("y", task, y.astype(float), tuple("abc"[:n_classes]))
    code = text("code", [f"k{(v + o) % n_classes}" for v, o in zip(y, odd, strict=True)])
    found = find_leaks(goal, [code])
    assert (found.sure, list(found.likely)) == ({}, ["code"] if is_asked else [])


def test_two_numbers_that_add_up_to_the_label_are_a_leak_together() -> None:
    other = [float(i * 53 % 97) for i in range(400)]
    goal = Goal("y", "regression", np.array(X) + 2 * np.array(other))
    suspects = leaks(goal, number("a", X), number("b", other), number("c", X[::-1]))
    assert set(suspects) == {"a", "b"}
    assert suspects["a"] == "gives the label as a weighted sum with 'b'"


def test_a_perfect_column_among_few_rows_of_a_class_proves_nothing() -> None:
    y = np.array([0.0] * 60 + [1.0] * 6)
    goal = Goal("y", "binary", y, ("0", "1"))
    assert leaks(goal, number("x", [float(i) for i in range(66)])) == {}


def test_columns_that_stand_for_each_other_are_twins() -> None:
    code, name = text("code", list("abca" * 10)), text("name", ["x", "y", "z", "x"] * 10)
    assert [t[:2] for t in find_twins([code, text("other", list("abcc" * 10)), name])] == [
        ("code", "name")
    ]


def test_numbers_of_the_same_order_are_twins() -> None:
    a = number("a", X)
    other = number("c", [float(i * 53 % 97) for i in range(400)])
    b = number("b", [x**3 + (0.1 if i % 2 else 0.0) for i, x in enumerate(X)])
    assert [t[:2] for t in find_twins([a, other, b])] == [("a", "b")]


def test_dummies_of_the_classes_are_a_leak_together() -> None:
    kind = np.arange(300) % 3
    others = [number(f"is_{k}", [int(v == k) for v in kind]) for k in (1, 2)]
    suspects = leaks(Goal("y", "multiclass", kind.astype(float), ("a", "b", "c")), *others)
    assert suspects["is_1"] == "marks exactly the rows of class 'b'"
    binary = leaks(Goal("y", "binary", (kind == 0).astype(float), ("no", "yes")), *others)
    assert binary["is_2"] == "gives the label as a weighted sum with 'is_1'"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_is_measured_by_its_order_and_not_by_bins_of_it(sign: int) -> None:
    y = (np.arange(400) * 7919 % 1009 % 2).astype(float)
    x = sign * (np.random.default_rng(12).normal(size=400) + 2.4 * y)  # by bins, the AUC is .926
    found = find_leaks(Goal("y", "binary", y, ("0", "1")), [number("x", x.tolist())])
    assert found.likely == {"x": "alone has an AUC of 0.9617"}


def test_the_class_that_a_text_names_last_counts_as_whole_words_in_any_case() -> None:
    texts = pa.array(
        ["Died (DEATH)", "deaths", None, "retired, then death.", "a.b", "Früh retired"]
    )
    named = named_classes(texts, ("Death", "Retired", "a.b"))
    assert named.tolist() == [0, -1, -1, 0, 2, 1]


TERMS = [f"{1800 + i * 37 % 101}.05 - {1900 + i * 53 % 97}" for i in range(400)]


@pytest.mark.parametrize(
    ("classes", "write"),
    [
        (("Death", "Retirement", "Resignation"), "{term} ({name})"),
        (("Death", "Retirement", "Resignation"), "{name}: {term}, as told to the press"),
        (("0", "1"), "{term}/{name}"),
        (("no", "yes"), "{term} answered {upper}"),
    ],
)
def test_a_text_that_names_the_class_gives_the_label_away(
    classes: tuple[str, ...], write: str
) -> None:
    y = np.array([float(i * 29 % 7 % len(classes)) for i in range(400)])
    names = [classes[int(k)] for k in y]
    texts = [
        write.format(term=term, name=name, upper=name.upper())
        for term, name in zip(TERMS, names, strict=True)
    ]
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    goal = Goal("y", task, y, classes)
    assert leaks(goal, text("note", texts))["note"].startswith("names a class, which alone ")
    assert not leaks(
        goal, text("note", [f"{term} {name}s" for term, name in zip(TERMS, names, strict=True)])
    )


def test_a_text_that_mostly_names_the_class_is_asked_about() -> None:
    classes = ("Death", "Retirement")
    y = np.array([float(i * 29 % 7 > 2) for i in range(400)])
    told = [classes[int(k) if i % 25 else 0] for i, k in enumerate(y)]
    texts = [f"{term} ({name})" for term, name in zip(TERMS, told, strict=True)]
    found = find_leaks(Goal("y", "binary", y, classes), [text("note", texts)])
    assert not found.sure
    assert found.likely["note"].startswith("names a class, which alone has an AUC of 0.9")
