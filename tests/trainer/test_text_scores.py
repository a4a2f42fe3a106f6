"""Scores of texts: out of fold for train rows, the same from raw rows, and left out if idle."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.trainer import text_fit
from quatrain.trainer.examples import read_examples
from quatrain.trainer.features import Input, Standardize, Text, raw_inputs
from quatrain.trainer.features.ngrams import read_sets, read_sets_tensor, write_sets
from quatrain.trainer.features.transform import Label, Transform, fit_features
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.predictor import head_of
from quatrain.trainer.rows import read_rows
from quatrain.trainer.settings import Hyperparameters
from quatrain.trainer.text_fit import fit_text_scores
from quatrain.trainer.text_scores import TextScores
from tests.trainer.small import SMALL, statistics_of

INPUTS = (Input("price", "float"), Input("note", "string"), Input("title", "string"))
GOOD, BAD = ["love", "great", "fits well"], ["hate", "broken", "fits badly"]
FILLER = [f"word{i}" for i in range(200)]
CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}


def notes(labels: np.ndarray, seed: int, is_informative: bool = True) -> pa.Table:
    """Returns rows whose note says the label in two words of twelve, and whose title is empty."""
    random, texts = np.random.default_rng(seed), []
    for label in labels:
        words = random.choice(FILLER, 10).tolist()
        pool = [GOOD, BAD, ["meh", "average"]][int(label)]
        texts.append(" ".join([*words, *(random.choice(pool, 2) if is_informative else [])]))
    price = pa.array(random.normal(size=len(labels)))
    title = pa.array(["", "Of Note"])
    titles = title.take(pa.array(random.integers(0, 2, len(labels))))
    return pa.table({"price": price, "note": pa.array(texts), "title": titles})


def write(folder: Path, tables: Sequence[pa.Table], labels: Sequence[np.ndarray], task: str) -> str:
    """Commits train and validation examples, as preprocessing does."""
    raws = [raw_inputs(t, INPUTS) for t in tables]
    features = (
        Standardize(name="price", columns=("price",), types=("float",)),
        Text(name="note", columns=("note",), types=("string",), buckets=8),
        Text(name="title", columns=("title",), types=("string",), buckets=4),
    )
    fitted = fit_features(features, statistics_of(features, raws[0], len(labels[0])).columns)
    label = Label("label", CLASSES[task])
    transform = Transform(task, label, None, INPUTS, fitted)  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    for split, table, raw, y in zip(("train", "validation"), tables, raws, labels, strict=True):
        shard = pa.table({**transform.numpy(raw), **transform.sets_numpy(raw), "label": y})
        for name in table.column_names:
            shard = shard.append_column(f"raw_{name}", table[name])
        pq.write_table(shard, folder / f"{split}-00000-of-00001.parquet")
    (folder / "transform.json").write_text(transform.to_json())
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
    rows = {"train": len(labels[0]), "validation": len(labels[1]), "test": 0, "rejected": 0}
    manifest = {"version": 1, "rows": rows, "files": files, "spec": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def examples_of(folder: Path, task: str = "binary", is_informative: bool = True) -> str:
    """Commits 400 and 100 rows with notes."""
    random = np.random.default_rng(1)
    labels = [random.integers(0, 3 if task == "multiclass" else 2, n) for n in (400, 100)]
    tables = [notes(y, seed, is_informative) for seed, y in enumerate(labels)]
    dtype = np.float32 if task == "regression" else np.int32
    return write(folder, tables, [y.astype(dtype) for y in labels], task)


def fit(uri: str):  # type: ignore[no-untyped-def]
    """Fits the scores of examples."""
    examples = read_examples(uri)
    train, validation = (read_rows(examples, n, 64) for n in ("train", "validation"))
    return fit_text_scores(examples, train, validation, head_of(examples, train))  # type: ignore[arg-type]


def correlation(numbers: np.ndarray, labels: np.ndarray) -> float:
    """Returns the correlation of a score with the label."""
    return abs(float(np.corrcoef(numbers, labels)[0, 1]))


@pytest.mark.parametrize("task", CLASSES)
def test_scores_take_the_place_of_the_counts_and_follow_the_label(
    task: str, tmp_path: Path
) -> None:
    model, train, validation = fit(examples_of(tmp_path / "examples", task))
    assert model.kept == ("price",)
    n_scores = 3 if task == "multiclass" else 1
    assert train.numbers.shape == (400, 1 + n_scores)
    assert train.names == validation.names == model.numbers
    for split in (train, validation):
        labels = (split.labels == 0) if task == "multiclass" else split.labels
        assert correlation(split.numbers[:, 1], labels) > 0.8


@pytest.mark.parametrize("task", CLASSES)
def test_scores_are_the_same_bytes_for_any_order_of_the_rows(task: str, tmp_path: Path) -> None:
    examples = read_examples(examples_of(tmp_path / "examples", task))
    split, sets = examples.split("train"), examples.sets("train")
    weights = np.random.default_rng(3).lognormal(0, 3, split.rows).astype(np.float32)
    split = replace(split, weights=weights)  # the plain sums depend on the order of the rows
    order = np.random.default_rng(2).permutation(split.rows)
    moved = split.take(order)
    one = text_fit._fit(sets, split, head_of(examples, split))
    other = text_fit._fit(sets.take(pa.array(order)), moved, head_of(examples, moved))
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(one.intercepts, other.intercepts)
    of_row = np.empty_like(one.scores)
    of_row[one.places] = one.scores
    back = np.empty_like(one.scores)
    back[order[other.places]] = other.scores
    np.testing.assert_array_equal(of_row, back)


@pytest.mark.parametrize("distinct", [400, 1], ids=["unlike", "repeated"])
def test_sets_of_n_grams_count_in_resident_mb(distinct: int, tmp_path: Path) -> None:
    table = notes(np.arange(400) % 2, 0)
    table = table.take(pa.array(np.arange(400) % distinct))
    labels = (np.arange(400) % 2).astype(np.int32)
    examples = read_examples(write(tmp_path / "examples", [table] * 2, [labels] * 2, "binary"))
    in_memory = sum(
        len(text) for column in examples.sets("train").columns for text in column.to_pylist()
    )
    assert examples.set_bytes("train") == in_memory > 10_000


def test_labels_without_relation_to_the_texts_leave_the_counts_in_place(tmp_path: Path) -> None:
    model, train, _ = fit(examples_of(tmp_path / "examples", is_informative=False))
    assert model is None
    assert train.numbers.shape == (400, 1 + 8 + 4)


def test_a_train_row_is_scored_by_a_model_that_has_not_seen_its_text(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 400).astype(np.int32)
    # Half of the notes hold words of their own row alone, twice: each text and its copy share them.
    table = notes(labels, 0)
    own = [f"own{i // 2} alone{i // 2}" for i in range(200)]
    labels[1:200:2] = labels[0:200:2]
    texts = pa.array(own + table["note"].to_pylist()[200:])
    table = table.set_column(1, "note", texts).set_column(2, "title", pa.array([""] * 400))
    uri = write(
        tmp_path / "examples", [table, notes(labels[:50], 1)], [labels, labels[:50]], "binary"
    )
    model, train, _ = fit(uri)
    sets = read_examples(uri).sets("train")
    assert correlation(model.numpy(sets)[:200, 0], labels[:200]) > 0.8  # the model knows them
    assert (
        correlation(train.numbers[:200, 1], labels[:200]) < 0.3
    )  # which its train scores do not show


def test_scores_do_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 2, 300).astype(np.int32)
    table, order = notes(labels, 0), np.random.default_rng(2).permutation(300)
    turned = write(tmp_path / "b", [table.take(order), table], [labels[order], labels], "binary")
    _, train, validation = fit(write(tmp_path / "a", [table, table], [labels, labels], "binary"))
    _, other, other_validation = fit(turned)
    np.testing.assert_allclose(other.numbers, train.numbers[order], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other_validation.numbers, validation.numbers, rtol=1e-5, atol=1e-5)


def test_rows_beyond_the_bound_are_scored_by_the_model_of_those_that_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = examples_of(tmp_path / "examples")
    monkeypatch.setattr(text_fit, "MOST_ENTRIES", 5_000)  # of about 10 000
    model, train, _ = fit(uri)
    assert correlation(train.numbers[:, 1], train.labels) > 0.8
    whole = model.numpy(read_examples(uri).sets("train"))[:, 0]
    n_equal = int(np.sum(whole == train.numbers[:, 1]))
    assert 100 < n_equal < 300


def test_the_graph_scores_like_numpy_from_sets_and_from_raw_texts(tmp_path: Path) -> None:
    import tensorflow as tf

    uri = examples_of(tmp_path / "examples", "multiclass")
    model, _, _ = fit(uri)
    assert isinstance(model, TextScores)
    long = "love great " * 100_000  # a text of 1.1 MB
    texts = ["", "  ", "love", "Great, GREAT fits; well", "unseen é 日本", long]
    table = pa.table({"price": [0.0] * 6, "note": texts, "title": ["", "of note", "", "", "", ""]})
    raw = raw_inputs(table, INPUTS)
    transform = read_examples(uri).transform
    sets, variables = transform.sets_numpy(raw), model.variables()
    expected = model.numpy(pa.table(sets))
    packed = {n: read_sets_tensor(tf.constant(c.to_pylist())) for n, c in sets.items()}
    tensors = {n: tf.constant(c.to_pylist()) for n, c in raw.items() if n != "price"}
    direct = transform.sets_tensor(tensors)
    for columns in (packed, direct):
        np.testing.assert_allclose(model.tensor(columns, tf.constant(6), variables), expected, 1e-6)
    np.testing.assert_array_equal(expected[0], model.intercepts)


def test_a_set_holds_each_bucket_once_and_is_read_back() -> None:
    row, bucket = np.array([2, 0, 2, 2, 0]), np.array([65_535, 7, 0, 65_535, 7])
    sets = write_sets(row, bucket, 4, 2**16)
    assert sets.to_pylist() == ["007", "", "000?oo", ""]
    counts, buckets = read_sets(sets.slice(1))
    assert (counts.tolist(), buckets.tolist()) == ([0, 2, 0], [0, 65_535])


def test_a_blend_is_exported_with_the_scores_of_which_its_parts_take_the_numbers(
    tmp_path: Path,
) -> None:
    from quatrain.trainer.model import train

    settings = {**vars(SMALL), "model": "blend", "rounds": 20}
    uri, outputs = examples_of(tmp_path / "examples"), Outputs.of(str(tmp_path / "out"), {})
    folder = Path(train(Job(uri, outputs, Hyperparameters(**settings))))  # which proves the export
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["model"]["text"]["columns"] == ["note", "title"]
    assert [c["name"] for c in metadata["engineered"]][-2:] == ["ngrams_note", "ngrams_title"]
    losses = {c["name"]: c["validation_loss"] for c in metadata["model"]["candidates"]}
    assert losses["tabm"] < 0.55
    assert losses["trees"] < 0.55
