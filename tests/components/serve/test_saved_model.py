"""SavedModels that TensorFlow's library runs, against the same models in TensorFlow's Python."""

import gc
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from quatrain.components.errors import ArtifactError
from quatrain.components.serve import saved_model
from quatrain.components.serve.saved_model import InvalidArgumentError, TensorFlowError, load

TEXTS = ["", "AA", "ünï", "a\0b", "x" * 22, "x" * 23, "long " * 5000, "AA"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a variable, a table from an asset, and outputs of several types."""
    place = tmp_path_factory.mktemp("model")
    words = place / "words.txt"
    words.write_text("AA\nünï\n", encoding="utf-8")

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable([[0.1, 0.2, 0.3]])
            keys = tf.lookup.TextFileInitializer(
                str(words),
                *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
                *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
            )
            self.table = tf.lookup.StaticHashTable(keys, -1)

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.float64), tf.TensorSpec([None], tf.string)]
        )
        def serve(self, x: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
            tf.debugging.assert_non_negative(x, "x is below zero")
            numbers = tf.cast(x, tf.float32)[:, tf.newaxis]
            return {
                "probabilities": tf.nn.softmax(tf.sin(numbers) @ self.weights),
                "length": tf.strings.length(text),
                "place": self.table.lookup(text),
                "text": text,
                "known": self.table.lookup(text) >= 0,
            }

    model = Model()
    tf.saved_model.save(model, str(place / "saved"), {"serving_default": model.serve})
    words.unlink()
    return place / "saved"


def columns_of(n: int) -> dict[str, Any]:
    texts = [TEXTS[k % len(TEXTS)] for k in range(n)]
    return {"x": np.linspace(0.0, 9.0, n), "text": pa.array(texts)}


@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_the_outputs_are_those_of_tensorflows_python_to_the_last_bit(folder: Path, n: int) -> None:
    columns = columns_of(n)
    outputs = load(folder)["serving_default"](columns)
    texts = tf.constant(columns["text"].to_pylist(), tf.string)
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected = signature(x=tf.constant(columns["x"]), text=texts)
    assert outputs.keys() == expected.keys()
    for name, tensor in expected.items():
        assert outputs[name].dtype == tensor.numpy().dtype
        assert outputs[name].tolist() == tensor.numpy().tolist()


def test_a_slice_of_a_column_has_its_own_rows(folder: Path) -> None:
    signature, columns = load(folder)["serving_default"], columns_of(40)
    part = {"x": columns["x"][::3], "text": columns["text"][5:19]}
    outputs = signature(part, ["text", "probabilities"])
    assert outputs["text"].tolist() == [t.encode() for t in part["text"].to_pylist()]
    # Not the rows of the whole: TensorFlow's vector operations may round a last bit otherwise in a
    # batch of another size.
    copied = {"x": part["x"].copy(), "text": pa.array(part["text"].to_pylist())}
    expected = signature(copied, ["probabilities"])["probabilities"]
    assert outputs["probabilities"].tolist() == expected.tolist()
    whole = signature(columns, ["probabilities"])["probabilities"]
    np.testing.assert_allclose(outputs["probabilities"], whole[::3], rtol=1e-6)


def test_only_the_outputs_that_are_wanted_are_returned(folder: Path) -> None:
    signature = load(folder)["serving_default"]
    assert list(signature(columns_of(3), ["length"])) == ["length"]
    with pytest.raises(KeyError, match="nothing"):
        signature(columns_of(3), ["nothing"])


@pytest.mark.parametrize(
    "columns",
    [{"x": np.zeros(1)}, {**columns_of(1), "nobody": np.zeros(1)}],
    ids=["absent", "unknown"],
)
def test_the_columns_are_the_inputs(folder: Path, columns: Any) -> None:
    with pytest.raises(KeyError, match="differ in"):
        load(folder)["serving_default"](columns)


def test_a_column_of_another_type_is_refused_in_tensorflows_words(folder: Path) -> None:
    columns = {**columns_of(1), "x": np.zeros(1, np.float32)}
    with pytest.raises(InvalidArgumentError, match="to be double but float is provided"):
        load(folder)["serving_default"](columns)


def test_a_value_that_the_model_refuses_is_an_error_with_its_reason(folder: Path) -> None:
    signature = load(folder)["serving_default"]
    with pytest.raises(InvalidArgumentError, match="x is below zero"):
        signature({**columns_of(1), "x": np.array([-1.0])})
    assert len(signature(columns_of(2))["length"]) == 2


def test_what_is_no_model_is_an_error_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TensorFlowError, match="Could not find SavedModel"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["runs[1]", "a*b", "what?", "ünï"])
def test_a_model_is_loaded_from_a_folder_of_any_name(
    folder: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(folder, tmp_path / name)
    assert load(tmp_path / name)["serving_default"](columns_of(2), ["place"])["place"].tolist()


def test_threads_get_the_answers_to_their_own_rows(folder: Path) -> None:
    signature = load(folder)["serving_default"]

    def differs(k: int) -> bool:
        texts = [f"{k} {row}" for row in range(50)]
        columns = {"x": np.full(50, float(k)), "text": pa.array(texts)}
        return signature(columns, ["text"])["text"].tolist() != [t.encode() for t in texts]

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(differs, range(200)))


def test_memory_does_not_grow_with_calls_nor_with_models_that_are_gone(folder: Path) -> None:
    columns = {"x": np.zeros(4), "text": pa.array(["a" * 1_000_000, "b" * 1_000_000] * 2)}

    def peak_mb(rounds: int) -> float:
        for _ in range(rounds):
            signature = load(folder)["serving_default"]
            for _ in range(10):
                signature(columns, ["text"])
            del signature
            gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    first = peak_mb(4)
    assert peak_mb(8) - first < 60  # 80 calls with 2 MB of texts


def test_nothing_of_tensorflows_python_is_imported(folder: Path) -> None:
    code = (
        "import sys\n"
        "from quatrain.components.serve import saved_model\n"
        "assert saved_model.load(sys.argv[1])['serving_default'].outputs\n"
        "print([name for name in sys.modules if name.startswith(('tensorflow', 'keras'))])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert completed.stdout == "[]\n"


def test_tensorflow_without_its_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_model, "_LIBRARY", "libtensorflow_other.so")
    saved_model._tensorflow.cache_clear()
    try:
        with pytest.raises(ArtifactError, match=r"libtensorflow_other\.so is not in .*tensorflow"):
            load("model")
    finally:
        saved_model._tensorflow.cache_clear()


def test_the_version_is_that_of_the_wheel() -> None:
    assert saved_model.tensorflow_version() == tf.__version__
