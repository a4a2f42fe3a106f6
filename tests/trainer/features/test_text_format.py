"""Texts are tidied alike where rows are cleaned and inside the exported model."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tensorflow as tf

from quatrain.trainer.features import Input, Vocabulary
from quatrain.trainer.features.text_format import Spelling, tidy_numpy, tidy_tensor
from quatrain.trainer.features.transform import Label, TextFormat, Transform

CHARACTERS = [chr(c) for c in [*range(0x3100), 0xFEFF, 0x1F600] if not 0xD800 <= c < 0xE000]
NASTY = [f"{c}a{c}Z{c}{c}" for c in CHARACTERS] + ["", " ", "\t\n", "a  b", " NA "]


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("case", [None, "lower", "upper"])
def test_both_forms_agree_on_every_character(trim: bool, case: None) -> None:
    ours = tidy_numpy(pa.array(NASTY), trim, case).cast(pa.binary()).to_pylist()
    assert ours == tidy_tensor(tf.constant(NASTY), trim, case).numpy().tolist()
    twice = tidy_numpy(pa.array(ours).cast(pa.string()), trim, case).cast(pa.binary())
    assert twice.to_pylist() == ours


def test_ascii_is_folded_and_nothing_else() -> None:
    text = pa.array([" \t\n\v\f\rAbC Ä\u00a0"])
    assert tidy_numpy(text, True, "lower").to_pylist() == ["abc Ä\u00a0"]


def test_beyond_ascii_both_forms_would_disagree() -> None:
    dotted = ["\u0130", "ΑΣ"]
    theirs = tf.strings.lower(dotted, encoding="utf-8").numpy().tolist()
    assert pc.utf8_lower(pa.array(dotted)).cast(pa.binary()).to_pylist() != theirs


def test_a_transform_tidies_its_inputs_in_both_forms_and_survives_json() -> None:
    original = Transform(
        "binary",
        Label("y", ("false", "true")),
        None,
        (Input("c", "string", True, "lower"),),
        (Vocabulary(name="c", columns=("c",), types=("string",), tokens=("aa", "b")),),
        TextFormat(
            columns={
                "t": Spelling("%d.%m.%Y"),
                "b": Spelling(None, None, ("j",), ("n",)),
                "x": Spelling(decimal=",", thousands=".", unit=("EUR", "€")),
            }
        ),
    )
    transform = Transform.from_json(original.to_json())
    assert transform == original
    raw = [" AA ", "b", "B\n", "  ", "c"]
    expected = [2, 3, 3, 0, 1]
    assert transform.numpy({"c": pa.array(raw)})["c"].tolist() == expected
    assert transform.tensor({"c": tf.constant(raw)})["c"].numpy().tolist() == expected
