"""A trained model of any kind, and the task that it serves: losses, predictions, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import tensorflow as tf

from .candidates import Candidate, LeftOut
from .checkpoints import Epoch, Progress
from .cluster import Cluster
from .examples import Examples, Labels, Split
from .features import Task
from .job import Job
from .rows import Streamed
from .settings import TrainerError
from .text_scores import TextScores

MAX_CLASSES = 10_000
"""Most classes: the heads of a network of 8 members and width 128 then hold 10 million weights."""
LEAST_PROBABILITY = 1e-15  # keeps the log-loss finite where float32 trees round to 0 or 1
Predict = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Maps numbers `[B, F] float32` and indices `[B, K] int32` to the argument of `Head.answer`."""

BATCH_ROWS, BATCH_CELLS = 8_192, 2**19
"""Most rows, and most numbers of theirs, that are predicted by a call during a training."""
CHUNK_ROWS, CHUNK_CELLS = 1024, 2**17
"""Most rows that are predicted at a time, and most numbers of theirs: their intermediate results
stay in a core's cache, or at least small."""


@dataclass(frozen=True)
class Predictor:
    """A trained model of any kind.

    Attributes:
        predict: A function of TensorFlow operations that returns class probabilities `[B, C]`, or
            the labels `[B, 1]` of a regression. It is traced without autograph, so it may hold no
            Python `if` or `for` over tensors.
        variables: The variables that `predict` reads.
        progress: The history of the training; for a blend, the network's.
        stopped: What ended the training.
        shares: The share of each part in the prediction, by name; their sum is 1.
        candidates: All models that were fitted.
        left_out: Those that were not, since they cannot keep what the spec demands.
        text: The scores of texts, of which `predict` takes the numbers; None: it takes those of the
            transform.
        judged: Its predictions of the validation rows, if some of its parts have learned from
            these: those of a part that has not; None: `predict` has learned from none.
        refit: Fits it again to the train and validation rows (`Fitting.both`), with all that the
            first fit chose; takes the seconds that this may take, and returns None if they were
            too few. None: it is fitted once.
        refit_rows: Rows of the second fit, whose result `predict` is; 0: it was fitted once.
    """

    predict: Predict
    variables: Sequence[tf.Variable]
    progress: Progress
    stopped: str
    shares: Mapping[str, float]
    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut] = ()
    text: TextScores | None = None
    judged: np.ndarray | None = None
    refit: Callable[[float], Predictor | None] | None = None
    refit_rows: int = 0

    @property
    def kind(self) -> str:
        """The name of the only part, or `blend`."""
        return "blend" if len(self.shares) > 1 else next(iter(self.shares))


@dataclass(frozen=True)
class Head:
    """A task: the loss of a network's outputs, and the predictions that they mean.

    Attributes:
        task: binary (one logit), multiclass (a logit a class) or regression (a standardized value).
        classes: Names of the classes; empty for a regression.
        mean: Weighted mean of a regression's train labels; 0 for classes.
        scale: Their standard deviation; 1 for classes, and where it is 0.
    """

    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def units(self) -> int:
        """Width of a member's output."""
        return len(self.classes) if self.task == "multiclass" else 1

    @property
    def loss_unit(self) -> float:
        """The factor from a loss to the label's unit; a regression's loss is a square."""
        return self.scale**2

    def losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean of the members' losses, with which a network is trained.

        Each member is trained as if it were alone: the loss of their mean would let them lean on
        each other (Gorishniy, Kotelnikov & Babenko 2025).

        Args:
            labels: `[B]`, index of the class or value.
            outputs: `[B, members, units] float32`.

        Returns:
            `[B] float32`: log-loss, or the square of the standardized error.
        """
        if self.task == "regression":
            by_member = tf.square(self._standardized(labels)[:, None] - outputs[:, :, 0])
        else:
            by_member = -self._log_likelihoods(labels, outputs)
        return tf.reduce_mean(by_member, axis=1)

    def averaged_losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the losses of the mean prediction of all members, which is the one served.

        Takes and returns the same as `losses`.
        """
        if self.task == "regression":
            return tf.square(self._standardized(labels) - tf.reduce_mean(outputs[:, :, 0], axis=1))
        by_member = self._log_likelihoods(labels, outputs)
        # -log of a mean of probabilities, from their logs: no probability rounds to 0.
        return log(outputs.shape[1]) - tf.reduce_logsumexp(by_member, axis=1)

    def _standardized(self, labels: tf.Tensor) -> tf.Tensor:
        return (labels - self.mean) / self.scale

    def _log_likelihoods(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the log of each member's probability of the true label, `[B, members]`."""
        if self.task == "binary":
            sign = 2.0 * tf.cast(labels, tf.float32) - 1.0
            return tf.math.log_sigmoid(sign[:, None] * outputs[:, :, 0])
        chosen = tf.one_hot(labels, self.units)[:, None, :]
        return tf.reduce_sum(chosen * tf.nn.log_softmax(outputs), axis=2)

    def predicted(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean prediction of all members, in the form that `answer` takes.

        Probabilities are averaged, not logits: that is the prediction whose loss stops a training.

        Args:
            outputs: `[B, members, units] float32`.
        """
        if self.task == "regression":
            return tf.reduce_mean(outputs, axis=1) * self.scale + self.mean
        if self.task == "binary":
            outputs = tf.concat([-outputs, outputs], axis=2)
            return tf.reduce_mean(tf.sigmoid(outputs), axis=1)
        return tf.reduce_mean(tf.nn.softmax(outputs), axis=1)

    def row_losses(self, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns the log-loss of each row, or the squared error in the label's unit.

        Args:
            predicted: Class probabilities `[N, C]`, or labels `[N, 1]`.
            labels: `[N]`, index of the class or value.

        Returns:
            `[N] float64`.
        """
        if self.task == "regression":
            return (predicted[:, 0].astype(np.float64) - labels) ** 2
        chosen = predicted[np.arange(len(labels)), labels].astype(np.float64)
        return -np.log(np.maximum(chosen, LEAST_PROBABILITY))

    def answer(self, predicted: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs of the signatures, by name.

        Args:
            predicted: Class probabilities `[B, C] float32`, or labels `[B, 1] float32`.

        Returns:
            `prediction` `[B]` for a regression; else `probabilities` and `classes` `[B, C]`, and
            `predicted_class` `[B]`.
        """
        if self.task == "regression":
            return {"prediction": predicted[:, 0]}
        names = tf.constant(self.classes)
        return {
            "probabilities": predicted,
            "classes": tf.broadcast_to(names, tf.shape(predicted)),
            "predicted_class": tf.gather(names, tf.argmax(predicted, axis=1)),
        }


def rows_at_once(most: int, cells: int, columns: int) -> int:
    """Returns how many rows to predict at a time: fewer of a wide table.

    An embedding of a number takes 32 pieces of 4 bytes.

    Args:
        most: Most rows.
        cells: Most numbers of all these rows.
        columns: Numbers of a row.
    """
    return max(1, min(most, cells // max(1, columns)))


def in_chunks(predict: Predict) -> Predict:
    """Returns a function that predicts the same, some rows at a time.

    Args:
        predict: A function whose prediction for a row does not depend on the other rows.
    """

    def chunked(*columns: tf.Tensor) -> tf.Tensor:
        rows = tf.maximum(1, tf.shape(columns[0])[0])  # a batch without rows is one chunk
        size = rows_at_once(CHUNK_ROWS, CHUNK_CELLS, columns[0].shape[1])

        def add(start: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            part = predict(*(column[start : start + size] for column in columns))
            return start + size, parts.write(start // size, part)

        parts = tf.TensorArray(
            tf.float32, -(-rows // size), element_shape=[None, None], infer_shape=False
        )
        return tf.while_loop(lambda start, _: start < rows, add, (0, parts))[1].concat()

    return chunked


@dataclass(frozen=True, eq=False)
class Fitting:
    """The input of the functions that fit a model.

    Attributes:
        job: The settings, without automatic values, and the folders of checkpoints and logs.
        cluster: Where the replicas run.
        examples: The folder of examples.
        head: The task.
        train: The rows to learn from.
        validation: The rows that decide when to stop, and the shares of a blend.
        report: Called by the chief after each epoch.
        keeps_rare: Whether a network tells apart the levels of few train rows.
        folds_trees: Whether trees of a small table are the mean of several fits.
        both: The train and validation rows together, for a second fit; None: there is none.
    """

    job: Job
    cluster: Cluster
    examples: Examples
    head: Head
    train: Split | Streamed
    validation: Split | Streamed
    report: Callable[[Epoch], None]
    keeps_rare: bool = False
    folds_trees: bool = True
    both: Split | None = None

    @property
    def splits(self) -> tuple[Split, Split]:
        """Both splits, in memory.

        Raises:
            TrainerError: A split is streamed.
        """
        if isinstance(self.train, Streamed) or isinstance(self.validation, Streamed):
            raise TrainerError(
                f"model {self.job.settings.model} needs all rows in memory; choose model tabm"
            )
        return self.train, self.validation


def head_of(examples: Examples, train: Split | Streamed) -> Head:
    """Returns the head of the examples' task.

    Raises:
        TrainerError: A label does not fit the task, a class has no row, or there are more than
            `MAX_CLASSES` classes.
    """
    task, classes = examples.transform.task, examples.transform.label.classes
    if len(classes) > MAX_CLASSES:
        raise TrainerError(
            f"the label has {len(classes):,} classes, more than {MAX_CLASSES:,}; set task: "
            "regression if it is an amount, or merge them"
        )
    if isinstance(train, Split):
        labels = Labels.of(train.labels, examples.transform, train.weights)
    else:
        labels = train.labels
    if task == "regression":
        return Head(task, (), labels.mean, labels.deviation or 1.0)
    absent = [name for name, count in zip(classes, labels.counts, strict=True) if not count]
    if absent:
        raise TrainerError(
            f"the train split has no row of {len(absent)} of {len(classes)} classes, as "
            f"{absent[0]!r}, or their weights are 0; reject their rows, merge them, or change the "
            "split"
        )
    return Head(task, classes)
