"""How a door is fuzzed: the same seed gives the same cases, and one that fails gets small."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from quatrain.components.errors import DataError
from tests.fuzz.door import Door, TooLong, fuzz, refusal
from tests.fuzz.mutation import altered, changed, mutated, places


def door(check: Callable[[bytes], str]) -> Door:
    return Door("toy", mutated([b"a,b\n1,2\n"]), lambda _: check, 50)


def cases_of(seed: int, notes: Path) -> list[bytes]:
    seen: list[bytes] = []
    fuzz(door(lambda case: seen.append(case) or "read"), seed, 50, notes)  # type: ignore[func-returns-value]
    return seen


def test_a_seed_gives_the_same_cases_each_time_and_another_one_others(tmp_path: Path) -> None:
    notes = tmp_path / "case"
    assert cases_of(1, notes) == cases_of(1, notes) != cases_of(2, notes)


def test_a_case_that_fails_is_noted_as_small_as_it_gets(tmp_path: Path) -> None:
    def check(case: bytes) -> str:
        assert b"\x00" not in case
        return "read"

    with pytest.raises(AssertionError):
        fuzz(door(check), 1, 500, tmp_path / "case")
    smallest = eval((tmp_path / "case").read_text())  # noqa: S307 - our own repr of bytes
    assert b"\x00" in smallest and len(smallest) <= len(b"a,b\n1,2\n") + 1


def test_outcomes_are_counted(tmp_path: Path) -> None:
    outcomes = fuzz(door(lambda case: "read" if b"1" in case else "refused"), 1, 50, tmp_path / "c")
    assert outcomes.total() == 50 and set(outcomes) == {"read", "refused"}


def test_a_case_that_takes_too_long_ends_whatever_swallows_exceptions(
    tmp_path: Path,
) -> None:
    def check(_: bytes) -> str:
        while True:
            with contextlib.suppress(Exception):
                sum(range(10_000))

    with pytest.raises(TooLong):
        fuzz(door(check), 1, 50, tmp_path / "case", cpu_s=0.05)


@pytest.mark.parametrize("text", ["KeyError: 'x' (unexpected)", "", " ...", "<class 'int'> is bad"])
def test_only_a_sentence_of_ours_is_a_refusal(text: str) -> None:
    assert refusal(DataError("a is not b; write c")) == "refused"
    with pytest.raises(AssertionError):
        refusal(DataError(text))
    with pytest.raises(KeyError):
        refusal(KeyError("x"))


def test_a_document_is_changed_at_any_place(tmp_path: Path) -> None:
    document = {"a": [1, {"b": 2}]}
    assert list(places(document)) == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b")]
    assert changed(document, ("a", 1, "b"), 3) == {"a": [1, {"b": 3}]}
    seen: list[str] = []
    toy = Door("toy", altered(document), lambda _: lambda c: seen.append(repr(c)) or "read", 100)  # type: ignore[func-returns-value]
    fuzz(toy, 1, 100, tmp_path / "case")
    assert document == {"a": [1, {"b": 2}]} and len(set(seen)) > 30
