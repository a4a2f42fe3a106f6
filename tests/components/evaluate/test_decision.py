"""What becomes of a model: promoted, held while the champion stays, or failed."""

from __future__ import annotations

from typing import Any

import pytest

from quatrain.components.evaluate.decision import best_after, decide, rows_to_decide, why_newer
from quatrain.components.evaluate.gate import check_gate, verdict_of
from quatrain.components.specification.schema import ChampionLimit

LIMIT = ChampionLimit(margin=0.01, fail=0.05)


def rival(value: float | None, half: float = 0.0, **changes: Any) -> dict[str, Any]:
    ends = {"low": None, "high": None}
    if value is not None:
        ends = {"low": value - half, "high": value + half}
    worse = {"value": value, **ends}
    metrics = {"log_loss": {"value": 0.3}}
    return {"run": "a", "made": "", "why": "", "worse": worse, "metrics": metrics, **changes}


def measured(champion: Any, best: Any = None) -> dict[str, Any]:
    return {
        "task": "binary",
        "rows": 1000,
        "metrics": {"log_loss": {"value": 0.3, "low": None, "high": None}},
        "baseline": {"trivial": {"log_loss": {"value": 0.55}}},
        "champion": champion,
        "best": best,
        "opponent": {"why": "there is no sample"},
        "skew": {"rows": 9, "max_difference": 0.0, "row": 4, "column": "", "inputs": {}},
    }


def decision(champion: Any, best: Any = None) -> str:
    found = measured(champion, best)
    gate = check_gate(found, {}, 1e-4, LIMIT.fail)
    return decide(gate["passed"], found, LIMIT).decision


@pytest.mark.parametrize(
    ("value", "half", "word"),
    [
        (-0.02, 0.01, "promote"),
        (0.004, 0.006, "promote"),  # the upper end is the margin itself
        (0.004, 0.0061, "hold"),
        (0.03, 0.001, "hold"),
        (0.06, 0.02, "hold"),  # worse than `fail`, but not beyond chance
        (0.06, 0.009, "fail"),
    ],
)
def test_the_interval_decides(value: float, half: float, word: str) -> None:
    assert decision(rival(value, half)) == word


def test_the_first_model_of_a_name_needs_its_bounds_alone() -> None:
    assert decision(None) == "promote"
    assert decide(False, measured(None), LIMIT).decision == "fail"


def test_the_better_of_the_champion_and_the_best_earlier_model_decides() -> None:
    slid = rival(0.0, 0.002), rival(0.02, 0.002, run="b")
    assert decision(*slid) == "hold"
    assert "of the best earlier model, run b (" in decide(True, measured(*slid), LIMIT).why
    assert decision(rival(0.02, 0.002), rival(-0.1, 0.002)) == "hold"
    assert decision(rival(0.0, 0.002), rival(0.07, 0.002)) == "fail"
    gone = rival(0.0, 0.002), {"run": "b", "why": "its model is gone"}
    assert decision(*gone) == "hold"
    sentence = decide(True, measured(*gone), LIMIT).why
    assert sentence.startswith("not compared with the best earlier model, run b: its model is gone")


def test_the_best_earlier_model_keeps_its_role_until_a_better_one_is_proved() -> None:
    record = {"run": "a", "made": "", "model": "m", "metadata": "d", "split": {}, "window": None}
    assert best_after(None, measured(None)) is None
    assert best_after(record, measured(rival(-0.02, 0.01))) is None
    assert best_after(record, measured(rival(-0.005, 0.006))) == record
    later = {**record, "run": "c", "best": record}
    better, level = rival(-0.02, 0.01), rival(0.0, 0.002, run="b")
    assert best_after(later, measured(better, level)) == record
    assert best_after(later, measured(level, better)) is None


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        (rival(0.0, why="its model is gone"), "not compared with the champion, run a: its model"),
        (rival(-0.1, newer="it is a redo"), "it is a redo, so this model is held"),
        (rival(None), "has no loss that this one could be compared with, so this model is held"),
    ],
)
def test_where_they_cannot_be_compared_the_model_is_held(champion: Any, words: str) -> None:
    found = decide(True, measured(champion), LIMIT)
    assert found.decision == "hold" and words in found.why
    gate = {"passed": True, **found.as_json()}
    assert verdict_of({"gate": gate, "warnings": [{}]}) == "held, with 1 warning"


@pytest.mark.parametrize(
    ("value", "half", "rows"),
    [
        (0.0, 0.02, 4000),  # the half-width must halve
        (0.005, 0.02, 16_000),
        (0.06, 0.02, 4000),  # to fail
        (0.03, 0.02, None),  # between the margin and `fail`, no number of rows decides
    ],
)
def test_a_held_model_names_the_rows_that_would_decide(
    value: float, half: float, rows: int | None
) -> None:
    found = rows_to_decide(rival(value, half)["worse"], 1000, LIMIT)
    assert found == rows if rows is None else found == pytest.approx(rows, rel=0.05)
    why = decide(True, measured(rival(value, half)), LIMIT).why
    assert ("test rows would decide" in why) is (rows is not None)


def test_an_older_run_or_window_never_takes_the_place() -> None:
    champion = {"run": "a", "made": "2026-11-30T06:00:00Z", "window": {"last": "2026-11-29"}}
    week = {"first": "2026-11-16", "last": "2026-11-22"}
    assert why_newer(champion, week, "2026-12-05T06:00:00Z") == (
        "its rows end on 2026-11-22, those of the champion, run a, on 2026-11-29"
    )
    newest = {"first": "2026-11-30", "last": "2026-12-06"}
    assert why_newer(champion, newest, "2026-12-07T06:00:00Z") == ""
    assert "it was created on 2026-11-29T06:00:00, before the champion" in why_newer(
        champion, None, "2026-11-29T06:00:00Z"
    )
    assert why_newer({**champion, "made": "by hand"}, None, "2026-11-29") == ""


def test_warn_of_older_specs_is_read_as_the_margin() -> None:
    assert ChampionLimit.model_validate({"warn": 0.02, "fail": 0.1}).margin == 0.02
    assert ChampionLimit.model_validate({"fail": 0.005}).margin == 0.005
    assert ChampionLimit().model_dump() == {"margin": 0.01, "fail": None}
    for wrong in ({"warn": 0.02, "margin": 0.02}, {"margin": 0.1, "fail": 0.05}):
        with pytest.raises(ValueError, match="margin"):
            ChampionLimit.model_validate(wrong)
