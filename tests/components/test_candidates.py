"""The candidates of a training in words."""

import pytest

from quatrain.components.candidates import (
    chosen_loss,
    left_out_in_words,
    others_in_words,
    refit_in_words,
    standing,
)
from quatrain.components.errors import ArtifactError
from tests.components.handmade import candidate


def test_the_words_say_what_lost_and_whether_by_chance() -> None:
    model = {
        "candidates": [
            candidate("tabm", 0.25, behind=0.05, behind_error=0.01),
            candidate("trees", 0.21, behind=0.01, behind_error=0.01),
            candidate("blend", 0.2, chosen=True, behind=0.0, behind_error=0.0),
        ]
    }
    assert chosen_loss(model) == 0.2
    assert others_in_words(model) == "tabm 0.2500, trees 0.2100 (level)"
    assert [standing(c) for c in model["candidates"]] == [
        "behind by 0.05 ± 0.02",
        "behind by 0.01 ± 0.02, which may be chance",
        "exported",
    ]


@pytest.mark.parametrize(("chosen", "marked"), [("", "none"), ("ab", "a, b")])
def test_a_model_without_one_chosen_candidate_is_refused(chosen: str, marked: str) -> None:
    candidates = [candidate(name, 0.2, chosen=name in chosen) for name in "ab"]
    expected = f"one candidate as chosen, the exported one, but it marks {marked}; correct the"
    with pytest.raises(ArtifactError, match=expected):
        chosen_loss({"candidates": candidates})


def test_models_that_were_left_out_have_a_reason() -> None:
    model = {"left_out": [{"name": "tabm", "why": "it cannot keep monotone age"}]}
    assert left_out_in_words(model) == "tabm (it cannot keep monotone age)"
    assert left_out_in_words({"candidates": []}) == ""  # of an earlier version


def test_a_second_fit_is_named_by_its_rows() -> None:
    assert refit_in_words({"refit_rows": 4_000}) == "4,000 rows"
    assert refit_in_words({"refit_rows": 0}) == refit_in_words({}) == ""


def test_a_model_alone_has_no_others() -> None:
    model = {"candidates": [candidate("own", 0.3, chosen=True)]}
    assert others_in_words(model) == ""
    assert standing(candidate("tabm", 0.3)) == "not exported"
