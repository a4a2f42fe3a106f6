"""A model of your own: a logistic or linear regression, trained with Keras's `fit`.

`train: {trainer: model.py}` in a spec replaces `trainer/model.py` by this file. Everything else
stays: preprocessing, the proof of the package, the job, the signatures, evaluation and gate.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.candidates import Candidate
from trainer.checkpoints import Epoch, Progress
from trainer.cluster import join_cluster
from trainer.examples import read_examples
from trainer.export import export
from trainer.job import Job
from trainer.predictor import Predictor, head_of


def train(job: Job, report: Callable[[Epoch], None] = lambda epoch: None) -> str:
    """Trains and exports a model; returns its folder."""
    examples = read_examples(job.examples)
    rows, validation = examples.split("train"), examples.split("validation")
    head = head_of(examples, rows)
    levels = [c.cardinality for c in examples.transform.engineered if c.cardinality]
    numbers = keras.Input([rows.numbers.shape[1]])
    indices = keras.Input([len(levels)], dtype="int32")
    parts = [keras.layers.Embedding(n, head.units)(indices[:, k]) for k, n in enumerate(levels)]
    parts.append(keras.layers.Dense(head.units)(numbers))
    network = keras.Model([numbers, indices], keras.layers.Add()(parts) if levels else parts[0])

    def loss(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        labels = tf.cast(tf.reshape(labels, [-1]), rows.labels.dtype)  # Keras casts them to float
        return head.losses(labels, outputs[:, None])

    network.compile("adam", loss)
    settings = job.settings.settled(rows.rows)
    history = network.fit(
        [rows.numbers, rows.indices],
        rows.labels,
        settings.batch_size,
        settings.epochs,
        sample_weight=rows.weights,
        validation_data=(
            [validation.numbers, validation.indices],
            validation.labels,
            validation.weights,
        ),
        verbose=2,
    ).history
    progress = Progress()
    for n, losses in enumerate(zip(history["loss"], history["val_loss"], strict=True), 1):
        epoch = Epoch(n, n * -(-rows.rows // settings.batch_size), *losses, 0.0)
        progress = progress.add(epoch)
        report(epoch)

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        return head.predicted(network([numbers, indices])[:, None])

    variables = [v.value for v in network.variables]
    own = Candidate("own", progress.best_loss, steps=progress.steps, chosen=True)
    predictor = Predictor(predict, variables, progress, "epochs", {"own": 1.0}, [own])
    export(job, predictor, head, join_cluster(job.strategy), examples)
    return job.outputs.model
