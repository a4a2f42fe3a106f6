"""The training loop inside the graph: one call runs many steps on rows in memory.

The same code serves one device, MirroredStrategy, MultiWorkerMirroredStrategy and TPUStrategy. The
rows of a global batch and the dropout of each row depend only on the seed, the epoch and the row's
place, so 1, 2 and 4 replicas follow the same curve, up to the order of float additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from ..cluster import Cluster
from ..predictor import Head
from ..rows import Rows, SplitTensors, Window
from ..settings import Hyperparameters, TrainerError
from .optimizer import AdamW, Weights, dense_on_cpu, joined_gradients, move_average


def _suspect(numbers: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str:
    """Describes the likeliest cause of a loss that is not finite: the batch's oddest number."""
    if not numbers.shape[1]:
        return f"the batch's label farthest from 0 is {labels[np.argmax(_oddity(labels))]:g}"
    row, column = map(int, np.unravel_index(np.argmax(_oddity(numbers)), numbers.shape))
    kind = "number of the batch farthest from 0"
    if not np.isfinite(numbers[row, column]):
        kind = "number of the batch that is not finite"
    return f"the {kind} is {numbers[row, column]:g}, in column {names[int(column)]!r}"


def _oddity(values: np.ndarray) -> np.ndarray:
    """Returns the magnitude of each value, infinite if it is NaN."""
    return np.nan_to_num(np.abs(values.astype(np.float64)), nan=np.inf, posinf=np.inf)


class Loop:
    """Trains and evaluates a network; its state is what a checkpoint holds.

    Attributes:
        network: The weights that the gradients move.
        average: Their exponential moving average, which is evaluated and exported.
        step: Steps done since the start.
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
        """Creates the variables under the strategy, and the two graph functions.

        Args:
            cluster: Where the replicas run.
            build: Builds a network; its argument is the variable that counts the steps.
            head: The loss of a row.
            settings: Batch size, optimizer and seed.
            train: The rows to learn from.
            validation: The rows that decide when to stop.
        """
        strategy = cluster.strategy
        replicas = strategy.num_replicas_in_sync
        self._strategy, self._head, self._settings = strategy, head, settings
        # If the batch does not divide equally, the last replica's share ends with filler rows.
        self._replica_rows = -(-settings.batch_size // replicas)
        self._fillers = self._replica_rows * replicas - settings.batch_size
        self.train_rows, self.validation_rows = train, validation
        with strategy.scope():
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        network = build(self.step)  # outside the strategy: replicas read the vectors only
        with strategy.scope():
            self.network, self.average = Weights(network), Weights(network)
            self._optimizer = AdamW(self.network, settings.learning_rate, settings.weight_decay)
        on_cpu = all(d.device_type == "CPU" for d in tf.config.list_logical_devices())
        self._dense = dense_on_cpu if on_cpu and not cluster.compiles else tf.convert_to_tensor
        # No XLA: on a CPU its batched products make a step of tabm five times slower. No autograph:
        # it would parse all of Keras, two thirds of the Python calls of a short run. Signatures of
        # any number of rows: windows differ in it, and tracing each takes 3 CPU-seconds.
        labels = tf.float32 if head.task == "regression" else tf.int32
        tensors = (
            *(tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in network.inputs),
            *(tf.TensorSpec([None], dtype) for dtype in (labels, tf.float32)),
        )
        order, number = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        total = tf.TensorSpec([], tf.float32)
        self._run_steps = tf.function(
            self._train_graph, [tensors, order, number, number, total, total], autograph=False
        )
        self._run_evaluation = tf.function(
            self._evaluate_graph, [tensors, order, number], autograph=False
        )

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.train_rows.rows // self._settings.batch_size)

    def restart(self, train: Rows) -> None:
        """Sets all variables to their start, so that the same steps train on other rows."""
        self.train_rows = train
        self.step.assign(0)
        for weights in (self.network, self.average):
            weights.reset()
        for moment in self._optimizer.moments:
            moment.assign(tf.zeros_like(moment))

    def windows(self, epoch: int) -> Iterator[Window]:
        """Yields the windows of an epoch, shuffled by (seed, epoch)."""
        shuffle = (self._settings.seed, epoch)
        return self.train_rows.windows(self._settings.batch_size, shuffle)

    def run_steps(self, window: Window, first: int, steps: int) -> tuple[float, float]:
        """Runs steps of a window in one graph call.

        Args:
            window: One of `windows`.
            first: The first step, counted from 0 within the window.
            steps: Number of steps.

        Returns:
            The weighted sum of the rows' losses, and the sum of their weights.

        Raises:
            TrainerError: The loss is not a number.
        """
        start, count = tf.constant(first, tf.int32), tf.constant(steps, tf.int32)
        rows, sum_of_weights = (
            tf.constant(n, tf.float32) for n in (self.train_rows.rows, self.train_rows.weight)
        )
        total, weight, wrong = self._run_steps(
            window.tensors, window.order, start, count, rows, sum_of_weights
        )
        if int(wrong) < steps:
            steps_before = int(self.step.numpy()) - steps + int(wrong)
            places = self._batch(window.order, first + int(wrong))
            numbers, _, labels, _ = (tf.gather(t, places).numpy() for t in window.tensors)
            raise TrainerError(
                f"the loss is not a number at step {steps_before + 1}: "
                f"{_suspect(numbers, labels, self.train_rows.names)}; "
                f"correct the column, or lower learning_rate, now {self._settings.learning_rate:g}"
            )
        return float(total), float(weight)

    def evaluate(self) -> float:
        """Returns the weighted mean loss of the averaged network on the validation split.

        Raises:
            TrainerError: The loss is not a number.
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
        return {name: [v.numpy() for v in group] for name, group in self._variables().items()}

    def load(self, state: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Sets the variables from the arrays of a checkpoint."""
        for name, group in self._variables().items():
            for variable, value in zip(group, state[name], strict=True):
                variable.assign(value)

    def _variables(self) -> dict[str, list[tf.Variable]]:
        return {
            "step": [self.step],
            "network": [self.network.vector],
            "average": [self.average.vector],
            "optimizer": self._optimizer.moments,
        }

    def _train_graph(
        self,
        tensors: SplitTensors,
        order: tf.Tensor,
        first: tf.Tensor,
        steps: tf.Tensor,
        rows: tf.Tensor,
        sum_of_weights: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Runs steps inside the graph.

        Args:
            tensors: Those of a window.
            order: That of the window.
            first: The first step within the window.
            steps: Number of steps.
            rows: Rows of the split.
            sum_of_weights: The sum of their weights.

        Returns:
            The sums of losses and of weights, and the first step whose loss is not finite; `steps`
            if all are.
        """

        def body(
            i: tf.Tensor, total: tf.Tensor, weight: tf.Tensor, wrong: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            batch, real = self._take(tensors, order, first + i)
            # The mean over the real rows, with weights scaled to mean 1 over the split: the
            # gradient does not depend on their unit, nor a batch on how heavy its rows are.
            scale = rows / (sum_of_weights * real)
            per_replica = self._strategy.run(self._train_step, args=(batch, scale))
            total += self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)
            weight += tf.reduce_sum(batch[3])
            wrong = tf.where(tf.math.is_finite(total), wrong, tf.minimum(wrong, i))
            return i + 1, total, weight, wrong

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), steps)
        return tf.while_loop(lambda i, *_: i < steps, body, start)[1:]

    def _evaluate_graph(
        self, tensors: SplitTensors, order: tf.Tensor, steps: tf.Tensor
    ) -> tf.Tensor:
        """Returns the weighted sum of the losses of all steps, inside the graph."""

        def body(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch, _ = self._take(tensors, order, i)
            per_replica = self._strategy.run(self._evaluate_step, args=(batch,))
            return i + 1, total + self._strategy.reduce(
                tf.distribute.ReduceOp.SUM, per_replica, axis=None
            )

        start = (tf.constant(0), tf.constant(0.0))
        return tf.while_loop(lambda i, _: i < steps, body, start)[1]

    def _batch(self, order: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
        """Returns the rows of a global batch, `[batch_size] int32`, as places in the window."""
        size = self._settings.batch_size
        return tf.slice(order, [number * size], [size])

    def _take(
        self, tensors: SplitTensors, order: tf.Tensor, number: tf.Tensor
    ) -> tuple[SplitTensors, tf.Tensor]:
        """Returns the rows of a global batch, padded to equal shares, and how many are no fillers.

        They are taken before the replicas run: an accelerator gets the rows of a step instead of
        a whole window, in shapes that do not depend on the window.
        """
        filler = tf.shape(tensors[2])[0] - 1
        places = self._batch(order, number)
        real = tf.reduce_sum(tf.cast(places < filler, tf.float32))
        filled = tf.pad(places, [[0, self._fillers]], constant_values=filler)
        return tuple(tf.gather(t, filled) for t in tensors), real

    def _own(self, batch: SplitTensors) -> SplitTensors:
        """Returns this replica's share of a global batch."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        start, size = tf.cast(replica, tf.int32) * self._replica_rows, self._replica_rows
        return tuple(
            tf.slice(t, [start] + [0] * (len(t.shape) - 1), [size, *t.shape[1:]]) for t in batch
        )

    def _train_step(self, batch: SplitTensors, scale: tf.Tensor) -> tf.Tensor:
        """Trains one replica on its share of a batch; returns the weighted sum of its losses.

        Args:
            batch: The global batch.
            scale: What makes the weighted sum of the batch's losses the loss to lower.
        """
        numbers, indices, labels, weights = self._own(batch)
        learned = self.network.tensors()
        with tf.GradientTape() as tape:
            tape.watch(learned)
            outputs = self.network(learned, [numbers, indices], training=True)
            total = tf.reduce_sum(weights * self._head.losses(labels, outputs))
            mean = total * scale
        context = tf.distribute.get_replica_context()
        gradients = tape.gradient(mean, learned, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        shared = joined_gradients(gradients, self._dense)
        gradient = context.all_reduce(tf.distribute.ReduceOp.SUM, shared)
        step = self.step + 1
        self._optimizer.apply(gradient, step)
        move_average(self.average.vector, self.network.vector, step, self._settings.averaging)
        self.step.assign_add(1)
        return total

    def _evaluate_step(self, batch: SplitTensors) -> tf.Tensor:
        numbers, indices, labels, weights = self._own(batch)
        outputs = self.average(self.average.tensors(), [numbers, indices], training=False)
        return tf.reduce_sum(weights * self._head.averaged_losses(labels, outputs))
