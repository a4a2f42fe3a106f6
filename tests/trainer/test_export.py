"""The exported model: three signatures of one network, proved before it is committed."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from quatrain.components.serve import saved_model
from quatrain.trainer import golden
from quatrain.trainer.examples import Examples, read_examples
from quatrain.trainer.export import _named, _reader, _single, argument_names, prove
from quatrain.trainer.model import train
from quatrain.trainer.settings import TrainerError
from tests.conftest import FileEvent
from tests.trainer.small import job, write_examples

ROWS = {
    "delay": tf.constant([40.0, -20.0, float("nan")], tf.float64),
    "arg_carrier_code": tf.constant(["AA", "été", ""]),
    "stops": tf.constant([2.0, 0.0, float("nan")], tf.float64),
    "time": tf.constant([1_357_000_000.0, 1_357_040_000.0, float("nan")], tf.float64),
}


def trained(folder: Path, task: str) -> tuple[Any, Examples, Path]:
    examples = write_examples(folder / "examples", task)
    train(job(examples, folder, epochs=20))
    model = folder / "model"
    return tf.saved_model.load(str(model)), read_examples(str(examples)), model


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Examples, Path]:
    return trained(tmp_path_factory.mktemp("binary"), "binary")


@pytest.fixture(scope="module")
def multiclass(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Examples, Path]:
    return trained(tmp_path_factory.mktemp("multiclass"), "multiclass")


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Examples, Path]:
    return trained(tmp_path_factory.mktemp("regression"), "regression")


def answers(model: Any, signature: str, **tensors: Any) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in model.signatures[signature](**tensors).items()}


def test_a_binary_model_answers_with_labelled_probabilities(binary: Any) -> None:
    outputs = answers(binary[0], "serving_default", **ROWS)
    assert outputs["probabilities"].shape == (3, 2)
    assert outputs["probabilities"].dtype == np.float32
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1.0, rtol=1e-6)
    assert outputs["classes"].tolist() == [[b"on time", b"late"]] * 3
    assert outputs["predicted_class"].tolist()[:2] == [b"late", b"on time"]


def test_a_multiclass_model_answers_with_labelled_probabilities(multiclass: Any) -> None:
    outputs = answers(multiclass[0], "serving_default", **ROWS)
    assert outputs["probabilities"].shape == (3, 3)
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1.0, rtol=1e-6)
    assert outputs["classes"].tolist() == [[b"early", b"fair", b"late"]] * 3
    best = outputs["classes"][np.arange(3), outputs["probabilities"].argmax(axis=1)]
    assert outputs["predicted_class"].tolist() == best.tolist()
    assert outputs["predicted_class"].tolist()[:2] == [b"late", b"early"]


def test_a_regression_answers_in_the_unit_of_its_label(regression: Any) -> None:
    model, _, folder = regression
    outputs = answers(model, "serving_default", **ROWS)
    assert list(outputs) == ["prediction"]
    assert outputs["prediction"].shape == (3,)
    # Labels are 1000 + 50 (delay / 20 + stops): 1200 and 950 here.
    assert outputs["prediction"][:2] == pytest.approx([1200.0, 950.0], abs=60.0)
    history = json.loads((folder / "metadata.json").read_text())["history"]
    assert history[0]["validation_loss"] > 1000.0  # squared units; the labels' variance is 4 200


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_raw_engineered_and_serialized_rows_answer_alike(
    task: str, request: pytest.FixtureRequest
) -> None:
    model, examples, _ = request.getfixturevalue(task)
    raw, engineered = (_named(c) for c in examples.first_rows("validation", 90))
    expected = answers(model, "engineered", **engineered)
    serialized = [
        serialize(*row) for row in zip(*(raw[a].numpy().tolist() for a in raw), strict=True)
    ]
    for outputs in (
        answers(model, "serving_default", **raw),
        answers(model, "examples", examples=tf.constant(serialized)),
    ):
        assert set(outputs) == set(expected)
        output = "prediction" if task == "regression" else "probabilities"
        np.testing.assert_allclose(outputs[output], expected[output], rtol=1e-4)


def serialize(
    delay: float | None = None,
    carrier: bytes | None = None,
    stops: float | None = None,
    time: float | None = None,
) -> bytes:
    """Returns a tf.Example without the features that are None, '' or NaN."""
    feature = {}
    if delay is not None and delay == delay:
        feature["delay"] = tf.train.Feature(float_list=tf.train.FloatList(value=[delay]))
    if carrier:
        feature["carrier-code"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[carrier]))
    for name, value in (("stops", stops), ("time", time)):
        if value is not None and value == value:
            whole = tf.train.Int64List(value=[int(value)])
            feature[name] = tf.train.Feature(int64_list=whole)
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_features_absent_from_an_example_are_missing(binary: Any) -> None:
    empty = answers(binary[0], "examples", examples=tf.constant([serialize()]))
    missing = answers(binary[0], "serving_default", **{k: v[2:] for k, v in ROWS.items()})
    np.testing.assert_array_equal(empty["probabilities"], missing["probabilities"])


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"stops": 2**53 + 1}, r"stops: 9007199254740993 is beyond 2\*\*53, where"),
        ({"time": 253_402_300_800}, "time: 253402300800 is not in the years 1 to 9999"),
        ({"delay": float("-inf")}, "delay: -inf is not a finite number"),
    ],
)
def test_a_value_of_an_example_that_no_type_has_is_refused_by_name(
    binary: Any, row: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        answers(binary[0], "examples", examples=tf.constant([serialize(**row)]))


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [("bool", 1, 1.0), ("bool", 2, "flag: 2 is not a bool"), ("date", 86_401, 86_400.0)],
)
def test_bools_and_dates_of_an_example_are_those_of_a_table(
    type_: Any, value: int, expected: Any
) -> None:
    row = tf.ragged.constant([[value], []], tf.int64)
    if isinstance(expected, str):
        with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
            _single(row, tf.constant("flag"), type_)
    else:
        np.testing.assert_array_equal(_single(row, tf.constant("flag"), type_), [expected, np.nan])


def test_the_columns_of_a_type_share_one_graph_that_reads_their_examples() -> None:
    read: Any = _reader("int")
    for name in ("stops", "seats"):
        values, splits = tf.constant([2**53 + 1], tf.int64), tf.constant([0, 1])
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name}: 9007199254740993 is"):
            read(values, splits, tf.constant(name))
    assert read.experimental_get_tracing_count() == 1


def test_two_values_of_a_feature_are_an_error_not_the_first(binary: Any) -> None:
    two = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0]))
    example = tf.train.Example(features=tf.train.Features(feature={"delay": two}))
    with pytest.raises(tf.errors.InvalidArgumentError, match="feature delay has more than one"):
        answers(binary[0], "examples", examples=tf.constant([example.SerializeToString()]))


def test_a_request_without_rows_has_no_answers(binary: Any) -> None:
    outputs = answers(binary[0], "serving_default", **{k: v[:0] for k, v in ROWS.items()})
    assert outputs["probabilities"].shape == (0, 2)


def test_metadata_names_the_arguments_and_the_digest_of_every_file(binary: Any) -> None:
    _, examples, folder = binary
    written = json.loads((folder / "metadata.json").read_text())
    assert [i["argument"] for i in written["inputs"]] == list(ROWS)
    assert written["classes"] == ["on time", "late"]
    assert written["examples"]["rows"] == examples.manifest["rows"]
    assert written["examples"]["transform"] == written["files"]["transform.json"]
    assert written["hyperparameters"]["hidden_units"] == [16, 8]
    on_disk = {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "metadata.json"
    }
    assert written["files"] == on_disk
    assert "saved_model.pb" in on_disk


def test_golden_rows_begin_with_one_in_which_everything_is_missing(binary: Any) -> None:
    _, _, folder = binary
    document = json.loads((folder / "golden.json").read_text())
    assert {name: column[0] for name, column in document["inputs"].items()} == {
        "delay": None,
        "arg_carrier_code": "",
        "stops": None,
        "time": None,
    }
    assert [len(column) for column in document["inputs"].values()] == [32] * 4
    assert np.shape(document["answers"]) == (32, 2)
    served = saved_model.load(folder)["serving_default"]
    golden.replay(json.dumps(document), served.answer, "2.21.0")


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_another_answer_to_a_golden_row_is_an_error(request: Any, task: str) -> None:
    _, _, folder = request.getfixturevalue(task)
    document = json.loads((folder / "golden.json").read_text())
    served = saved_model.load(folder)["serving_default"]
    wrong = np.array(document["answers"])
    wrong[5] += 0.001 * max(1.0, float(np.abs(wrong).max()))
    document["answers"] = wrong.tolist()
    with pytest.raises(TrainerError, match="to golden row 5, where it answered"):
        golden.replay(json.dumps(document), served.answer, "2.21.0")


def test_tensorflow_s_own_tool_runs_the_model_in_a_fresh_process(binary: Any) -> None:
    model, _, folder = binary
    fed = {"delay": [40.0, -20.0], "stops": [2.0, 0.0], "time": [1.357e9, 1.35704e9]}
    arguments = [f"{name}={values}" for name, values in fed.items()]
    arguments.append("arg_carrier_code=['AA', 'DL']")
    tool = Path(sys.executable).with_name("saved_model_cli")
    command = [str(tool), "run", "--dir", str(folder), "--tag_set", "serve"]
    command += ["--signature_def", "serving_default", "--input_exprs", ";".join(arguments)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {**fed, "arg_carrier_code": ["AA", "DL"]}
    outputs = answers(model, "serving_default", **{k: tf.constant(v) for k, v in _typed(rows)})
    printed = re.search(r"key probabilities:\n(\[\[.*?\]\])", completed.stdout, re.S)
    assert printed is not None, completed.stdout
    printed_probabilities = np.array(
        [float(n) for n in re.findall(r"[\d.e+-]+", printed[1])]
    ).reshape(2, 2)
    np.testing.assert_allclose(printed_probabilities, outputs["probabilities"], atol=1e-6)


def _typed(rows: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    for name, values in rows.items():
        yield name, np.array(values, object if isinstance(values[0], str) else np.float64)


def test_no_temporary_folder_is_left(binary: Any) -> None:
    folder = binary[2].parent
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoints",
        "examples",
        "logs",
        "model",
    ]


def spoil_raw(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[pa.Table], pa.Table]:
    def spoil(shard: pa.Table) -> pa.Table:
        place = shard.column_names.index("raw_stops")
        return shard.set_column(place, "raw_stops", [change(shard.column(place).to_numpy())])

    return spoil


def test_a_model_that_serves_raw_rows_differently_is_not_exported(tmp_path: Path) -> None:
    spoil = {"validation": spoil_raw(lambda stops: (stops + 1) % 3)}
    folder = write_examples(tmp_path / "examples", spoil=spoil)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/metadata.json").write_text("of an earlier model")
    with pytest.raises(TrainerError, match="the transform differs between preprocessing and serv"):
        train(job(folder, tmp_path, max_steps=1))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_finite_number_is_blamed_on_the_training(value: float) -> None:
    answer = tf.constant([[0.5, 0.5], [value, 0.5]])
    signatures = dict.fromkeys(("serving_default", "engineered"), lambda **_: {"p": answer})
    with pytest.raises(TrainerError, match=r"to validation row 1, .* its training diverged"):
        prove(signatures, {}, {}, "p")


def test_a_model_is_written_in_place_and_takes_the_place_of_what_was_there(
    tmp_path: Path, file_events: list[FileEvent]
) -> None:
    (tmp_path / "model/variables").mkdir(parents=True)
    for name in ("metadata.json", "variables/cut-short"):
        (tmp_path / "model" / name).write_text("of a killed attempt")
    train(job(write_examples(tmp_path / "examples"), tmp_path, max_steps=1))
    renamed = [e for e in file_events if e.name == "os.rename" and "model" in Path(e.path).parts]
    assert [(Path(e.path).parent, e.is_folder) for e in renamed] == [(tmp_path / "model", False)]
    files = json.loads((tmp_path / "model/metadata.json").read_text())["files"]
    assert "variables/variables.index" in files
    assert "variables/cut-short" not in files
    assert not (tmp_path / "model/variables/cut-short").exists()


def test_names_that_a_signature_cannot_keep_get_an_alias() -> None:
    names = ["age", "educational-num", "educational num", "2nd", "class", "self", "Été", "_x"]
    assert argument_names(names) == {
        "age": "age",
        "educational-num": "arg_educational_num",
        "educational num": "arg_educational_num_",
        "2nd": "arg_2nd",
        "class": "arg_class",
        "self": "arg_self",
        "Été": "arg__t_",
        "_x": "arg__x",
    }


def test_names_that_differ_by_case_alone_get_distinct_arguments() -> None:
    # TensorFlow ignores the case of a signature's arguments.
    names = ["v", "V", "Arg_V", "a-b", "A-B", "Été", "été"]
    arguments = argument_names(names)
    assert arguments["v"] == "v"
    assert arguments["Arg_V"] == "Arg_V"
    assert len({a.casefold() for a in arguments.values()}) == len(names)


def test_an_alias_never_takes_the_name_of_a_column() -> None:
    assert argument_names(["a-b", "arg_a_b"]) == {"a-b": "arg_a_b_", "arg_a_b": "arg_a_b"}
