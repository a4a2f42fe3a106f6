"""Trains on the flights table's engineered rows: `training_.py EXAMPLES OUT CASE`.

`loop`, `fit-arrays` and `fit-dataset` take `STEPS` steps of a perceptron (128 and 64 units) with
batches of 1024, after as many steps that trace and warm up. `windows` and `tfrecords` go through
shuffled rows in batches of 1024, after an epoch that warms up. `tabm` and `lightgbm` train to the
end, each with its defaults.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.measuring import measured
from quatrain.trainer.checkpoints import Epoch
from quatrain.trainer.cluster import join_cluster
from quatrain.trainer.examples import Examples, Split, read_examples
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.network import fit_network
from quatrain.trainer.neural.steps import Loop
from quatrain.trainer.predictor import Fitting, head_of
from quatrain.trainer.rows import Resident, Streamed
from quatrain.trainer.settings import Hyperparameters

BATCH, STEPS = 1024, 200
WINDOW_BYTES = 8 * 10**6
SHUFFLE_BUFFER = 100_000  # rows: about what a window holds

Work = tuple[Callable[[], None], Callable[[], dict[str, Any]]]


def perceptron(split: Split, levels: list[int]) -> keras.Model:
    """Returns the network of the loops that are compared: plain numbers and embedded indices."""
    numbers = keras.Input([split.numbers.shape[1]], name="numbers")
    indices = keras.Input([len(levels)], dtype="int32", name="indices")
    parts = [keras.layers.Embedding(n, 8)(indices[:, k]) for k, n in enumerate(levels)]
    x = keras.layers.Concatenate()([numbers, *parts])
    for width in (128, 64):
        x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model([numbers, indices], keras.layers.Reshape([1, 1])(keras.layers.Dense(1)(x)))


def own_loop(examples: Examples, split: Split, levels: list[int]) -> Work:
    """Returns the trainer's loop, which also clips, averages weights and is deterministic."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    settings = replace(Hyperparameters(), batch_size=BATCH).settled(split.rows)
    rows = Resident(split)
    head = head_of(examples, split)
    cluster = join_cluster("one_device")
    loop = Loop(cluster, lambda step: perceptron(split, levels), head, settings, rows, rows)
    (window,) = loop.windows(0)
    loop.run_steps(window, 0, STEPS)
    return lambda: _discard(loop.run_steps(window, 0, STEPS)), lambda: {"units": STEPS}


def keras_fit(split: Split, levels: list[int], dataset: bool) -> Work:
    """Returns `Model.fit` with AdamW, on arrays or on a shuffled tf.data of dicts of columns."""
    model = perceptron(split, levels)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(4e-3, weight_decay=3e-4), loss)
    rows = BATCH * STEPS
    arrays = {"numbers": split.numbers[:rows], "indices": split.indices[:rows]}
    labels = split.labels[:rows].astype(np.float32).reshape(-1, 1, 1)
    if not dataset:
        arguments: dict[str, Any] = {"x": arrays, "y": labels, "batch_size": BATCH}
    else:
        columns = {f"n{k}": c for k, c in enumerate(arrays["numbers"].T)}
        columns |= {f"i{k}": c for k, c in enumerate(arrays["indices"].T)}

        def stack(row: dict[str, tf.Tensor], label: tf.Tensor) -> Any:
            parts = [tf.stack([row[n] for n in row if n[0] == kind], 1) for kind in "ni"]
            return {"numbers": parts[0], "indices": parts[1]}, label

        source = tf.data.Dataset.from_tensor_slices((columns, labels)).shuffle(rows)
        arguments = {"x": source.batch(BATCH).map(stack).prefetch(2)}
    model.fit(**arguments, epochs=1, verbose=0)
    return lambda: _discard(model.fit(**arguments, epochs=1, verbose=0)), lambda: {"units": STEPS}


def windows(examples: Examples) -> Work:
    """Returns a pass over the train rows in the shuffled order of streamed Parquet row groups."""
    rows = Streamed(examples, "train", WINDOW_BYTES)

    def work() -> None:
        for window in rows.windows(BATCH, (0, 0)):
            for step in range(window.steps):
                places = window.order[step * BATCH : (step + 1) * BATCH]
                _discard([tf.gather(t, places) for t in window.tensors])

    work()
    return work, lambda: {"units": rows.rows}


def tfrecords(examples: Examples, split: Split, out: Path) -> Work:
    """Returns a pass over the same rows as tf.Example: TFRecord files, a buffer, parsed batches."""
    names = [c.name for c in examples.transform.engineered]
    numbers, indices = examples.transform.numbers, examples.transform.indices
    paths = [f"{out}-{part}.tfrecord" for part in range(4)]
    for part, path in enumerate(paths):
        with tf.io.TFRecordWriter(path) as writer:
            for row in range(part, split.rows, len(paths)):
                writer.write(_serialized(split, row, numbers, indices))
    features = {
        n: tf.io.FixedLenFeature([], tf.float32 if n in numbers else tf.int64) for n in names
    }
    features["label"] = tf.io.FixedLenFeature([], tf.int64)
    data = tf.data.TFRecordDataset(paths).shuffle(SHUFFLE_BUFFER).batch(BATCH)
    data = data.map(lambda batch: tf.io.parse_example(batch, features)).prefetch(2)

    def work() -> None:
        for batch in data:
            _discard(batch)

    work()
    return work, lambda: {"units": split.rows}


def _serialized(split: Split, row: int, numbers: Any, indices: Any) -> bytes:
    feature = {
        n: tf.train.Feature(float_list=tf.train.FloatList(value=[split.numbers[row, k]]))
        for k, n in enumerate(numbers)
    }
    whole = {n: split.indices[row, k] for k, n in enumerate(indices)} | {"label": split.labels[row]}
    for n, value in whole.items():
        feature[n] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def training(examples: Examples, split: Split, out: Path, model: str) -> Work:
    """Returns a whole training, with tracing and validation, but without reading and export."""
    validation = examples.split("validation")
    head = head_of(examples, split)
    settings = replace(Hyperparameters(), model=model).settled(split.rows)
    job = Job(str(out), Outputs.of(str(out), {}), settings)
    losses: list[float] = []

    def report(epoch: Epoch) -> None:
        losses.append(epoch.validation_loss)

    def tabm() -> None:
        cluster = join_cluster("one_device")
        fit_network(Fitting(job, cluster, examples, head, split, validation, report))

    return tabm, lambda: {"units": 1, "epochs": len(losses), "validation_loss": min(losses)}


def lightgbm_(examples: Examples, split: Split) -> Work:
    """Returns a training of LightGBM with its defaults, on the same columns."""
    import lightgbm

    validation = examples.split("validation")
    places = list(range(split.numbers.shape[1], split.numbers.shape[1] + split.indices.shape[1]))
    rows, validation_rows = (np.hstack([s.numbers, s.indices]) for s in (split, validation))
    trees: list[Any] = []

    def train() -> None:  # what `LGBMClassifier` does, which would need scikit-learn
        data = lightgbm.Dataset(rows, split.labels, categorical_feature=places)
        settings = {"objective": "binary", "num_threads": 1, "verbose": -1}
        trees.append(lightgbm.train(settings, data))

    def loss() -> dict[str, Any]:
        late = trees[0].predict(validation_rows)
        likelihood = np.where(validation.labels == 1, late, 1 - late)
        return {"units": 1, "validation_loss": float(-np.log(likelihood).mean())}

    return train, loss


def _discard(_: object) -> None:
    """Takes a result that is of no use."""


def _work(case: str, examples: Examples, out: Path) -> Work:
    """Returns the work of a case, and what checks its result."""
    split = examples.split("train")
    levels = [c.cardinality for c in examples.transform.engineered if c.cardinality]
    cases: dict[str, Callable[[], Work]] = {
        "loop": lambda: own_loop(examples, split, levels),
        "fit-arrays": lambda: keras_fit(split, levels, dataset=False),
        "fit-dataset": lambda: keras_fit(split, levels, dataset=True),
        "windows": lambda: windows(examples),
        "tfrecords": lambda: tfrecords(examples, split, out),
        "tabm": lambda: training(examples, split, out, "tabm"),
        "lightgbm": lambda: lightgbm_(examples, split),
    }
    return cases[case]()


if __name__ == "__main__":
    folder, target, which = sys.argv[1:]
    measured(*_work(which, read_examples(folder), Path(target)))
