"""The training loop inside the graph: one call runs many steps on rows in memory.

One piece of code serves one device, MirroredStrategy, MultiWorkerMirroredStrategy and TPUStrategy.
The rows of a global batch and the dropout of each row depend on the seed, the epoch and the row's
place alone, so 1, 2 and 4 replicas follow the same curve up to the order of float additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.cluster import Cluster
from trainer.predictor import Head
from trainer.rows import Rows, Tensors, Window
from trainer.settings import Hyperparameters, TrainerError

CLIP_NORM = 1.0  # of all gradients together: AdamW at 4e-3 leaves the track without


def _suspect(numbers: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str:
    """Returns what in a batch may have made the loss no number."""
    if not numbers.shape[1]:
        return f"the batch's label farthest from 0 is {labels[np.argmax(_oddity(labels))]:g}"
    row, column = map(int, np.unravel_index(np.argmax(_oddity(numbers)), numbers.shape))
    kind = "number of the batch farthest from 0"
    if not np.isfinite(numbers[row, column]):
        kind = "number of the batch that is none"
    return f"the {kind} is {numbers[row, column]:g}, in column {names[int(column)]!r}"


def _oddity(values: np.ndarray) -> np.ndarray:
    """Returns the magnitude; of what is no number infinity."""
    return np.nan_to_num(np.abs(values.astype(np.float64)), nan=np.inf, posinf=np.inf)


class Loop:
    """Trains and evaluates a network; holds what a checkpoint must hold.

    Attributes:
        network: The network that the gradients move.
        average: Its exponential moving average, which is evaluated and exported.
        optimizer: AdamW; its `iterations` are the steps done.
        steps: Of an epoch.
    """

    def __init__(
        self,
        cluster: Cluster,
        build: Callable[[tf.Variable], keras.Model],
        head: Head,
        settings: Hyperparameters,
        train: Rows,
        validation: Rows,
    ) -> None:
        """Builds the variables under the strategy and the two graph functions.

        Args:
            cluster: Where the replicas run.
            build: Makes a network; it gets the variable that counts the steps.
            head: The loss of each row.
            settings: Batch size, optimizer and seed.
            train: The rows to learn from.
            validation: The rows that decide when to stop.
        """
        strategy = cluster.strategy
        replicas = strategy.num_replicas_in_sync
        self._strategy, self._head, self._settings = strategy, head, settings
        # The last replica's share ends with fillers where the batch cannot be shared equally.
        self._replica_rows = -(-settings.batch_size // replicas)
        self._fillers = self._replica_rows * replicas - settings.batch_size
        self.train_rows, self.validation_rows = train, validation
        self.steps = -(-train.rows // settings.batch_size)
        with strategy.scope():
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
            self.network = build(self.step)
            self.average = build(self.step)
            self.optimizer = _adamw(settings, self.network.trainable_variables)
            self.optimizer.build(self.network.trainable_variables)
        self.average.set_weights(self.network.get_weights())
        # Not by XLA: on a CPU its batched products make a step of tabm five times slower.
        # Windows differ in length, and would each be traced anew: 3 CPU-s.
        self._run_steps = tf.function(self._train_graph, reduce_retracing=True)
        self._run_evaluation = tf.function(self._evaluate_graph, reduce_retracing=True)

    def windows(self, epoch: int) -> Iterator[Window]:
        """Yields the windows of an epoch, shuffled by (seed, epoch)."""
        shuffle = (self._settings.seed, epoch)
        return self.train_rows.windows(self._settings.batch_size, shuffle)

    def run_steps(self, window: Window, first: int, steps: int) -> tuple[float, float]:
        """Runs `steps` steps of a window in one graph call.

        Args:
            window: From `windows`.
            first: The first step, counted from 0 in the window.
            steps: How many.

        Returns:
            The sum of the rows' losses, each times its weight, and the sum of the weights.

        Raises:
            TrainerError: The loss was not a number.
        """
        start, count = tf.constant(first, tf.int32), tf.constant(steps, tf.int32)
        total, weight, wrong = self._run_steps(window.tensors, window.order, start, count)
        if int(wrong) < steps:
            done = int(self.optimizer.iterations) - steps + int(wrong)
            places = self._batch(window.order, first + int(wrong))
            numbers, _, labels, _ = (tf.gather(t, places).numpy() for t in window.tensors)
            raise TrainerError(
                f"the loss is not a number at step {done + 1}: "
                f"{_suspect(numbers, labels, self.train_rows.names)}; "
                f"correct the column, or lower learning_rate, now {self._settings.learning_rate:g}"
            )
        return float(total), float(weight)

    def evaluate(self) -> float:
        """Returns the averaged network's mean loss on the validation split, weighted by example.

        Raises:
            TrainerError: It is not a number.
        """
        windows = self.validation_rows.windows(self._settings.batch_size, None)
        total = sum(
            float(self._run_evaluation(w.tensors, w.order, tf.constant(w.steps))) for w in windows
        )
        if not np.isfinite(total):
            raise TrainerError(
                f"the validation loss is {total} after step {int(self.step.numpy())}; lower "
                f"learning_rate, now {self._settings.learning_rate:g}, or look for extreme "
                "numbers in the validation split"
            )
        return total / self.validation_rows.weight

    def state(self) -> dict[str, list[np.ndarray]]:
        """Returns the arrays that a checkpoint holds."""
        return {
            "step": [self.step.numpy()],
            "network": self.network.get_weights(),
            "average": self.average.get_weights(),
            "optimizer": [v.numpy() for v in self.optimizer.variables],
        }

    def load(self, state: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Takes over the arrays of a checkpoint."""
        self.step.assign(state["step"][0])
        self.network.set_weights(state["network"])
        self.average.set_weights(state["average"])
        for variable, value in zip(self.optimizer.variables, state["optimizer"], strict=True):
            variable.assign(value)

    def _train_graph(
        self, tensors: Tensors, order: tf.Tensor, first: tf.Tensor, steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the sums of losses and weights, and the first step whose loss is not finite."""
        total, weight, wrong = tf.constant(0.0), tf.constant(0.0), steps
        for i in tf.range(steps):
            places = self._batch(order, first + i)
            per_replica = self._strategy.run(self._train_step, args=(tensors, places))
            total += self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)
            weight += tf.reduce_sum(tf.gather(tensors[3], places))
            wrong = tf.where(tf.math.is_finite(total), wrong, tf.minimum(wrong, i))
            self.step.assign_add(1)
            self._move_average()
        return total, weight, wrong

    def _evaluate_graph(self, tensors: Tensors, order: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for i in tf.range(steps):
            places = self._batch(order, i)
            per_replica = self._strategy.run(self._evaluate_step, args=(tensors, places))
            total += self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)
        return total

    def _batch(self, order: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
        size = self._settings.batch_size
        return tf.slice(order, [number * size], [size])

    def _own(self, places: tf.Tensor, filler: tf.Tensor) -> tf.Tensor:
        """Returns this replica's share of a global batch."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        start = tf.cast(replica, tf.int32) * self._replica_rows
        filled = tf.pad(places, [[0, self._fillers]], constant_values=filler)
        return tf.slice(filled, [start], [self._replica_rows])

    def _train_step(self, tensors: Tensors, places: tf.Tensor) -> tf.Tensor:
        rows = self.train_rows
        filler = tf.shape(tensors[2])[0] - 1
        real = tf.reduce_sum(tf.cast(places < filler, tf.float32))
        # Weights have mean 1 over the split, so the gradient does not depend on their unit.
        scale = rows.rows / (rows.weight * real)
        own = self._own(places, filler)
        numbers, indices, labels, weights = (tf.gather(t, own) for t in tensors)
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.network([numbers, indices], training=True)
            total = tf.reduce_sum(weights * self._head.losses(labels, outputs))
            mean = total * scale
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(mean, variables)]
        gradients = self._clipped(gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return total

    def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns this replica's share of the summed and clipped gradients; Keras adds shares."""
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        clipped, _ = tf.clip_by_global_norm(total, CLIP_NORM)
        return [g / context.num_replicas_in_sync for g in clipped]

    def _evaluate_step(self, tensors: Tensors, places: tf.Tensor) -> tf.Tensor:
        own = self._own(places, tf.shape(tensors[2])[0] - 1)
        numbers, indices, labels, weights = (tf.gather(t, own) for t in tensors)
        outputs = self.average([numbers, indices], training=False)
        return tf.reduce_sum(weights * self._head.averaged_losses(labels, outputs))

    def _move_average(self) -> None:
        """Moves the average towards the weights.

        The momentum of step n is min(averaging, (1 + n) / (10 + n)), as with `num_updates` of
        tf.train.ExponentialMovingAverage: a plain mean of the first steps would stay near the
        initial weights, and few steps would never leave them.
        """
        step = tf.cast(self.step, tf.float32)
        momentum = tf.minimum(self._settings.averaging, (1.0 + step) / (10.0 + step))

        def move(average: Any, weight: Any) -> Any:
            return average.assign(weight + momentum * (average - weight))

        pairs = zip(self.average.trainable_variables, self.network.trainable_variables, strict=True)
        for average, weight in pairs:
            self._strategy.extended.update(average.value, move, args=(weight.value,))


def _adamw(
    settings: Hyperparameters, variables: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Returns AdamW that decays kernels alone."""
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    others = [v for v in variables if not v.path.endswith("kernel")]
    optimizer.exclude_from_weight_decay(var_list=others)
    return optimizer
