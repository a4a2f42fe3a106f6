"""The weights of a network as one vector, and the optimizer that moves it.

A step of Keras's optimizer is some ten operations a variable, to be traced and to be run; on a
vector they are five for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

CLIP_NORM = 1.0  # of all gradients together: AdamW at 4e-3 leaves the track without
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # of keras.optimizers.AdamW


class Weights:
    """The trainable weights of a network in one variable; `[W] float32`.

    The network's own variables say shapes, names and the values to begin with; nothing moves them.

    Attributes:
        vector: The weights, in the order of `network.trainable_variables`.
    """

    def __init__(self, network: keras.Model) -> None:
        """Makes the vector, a copy of the network's weights; call it under the strategy.

        Args:
            network: Its layers may read weights, but change none when they are called.

        Raises:
            ValueError: The network changes weights when it is called, as BatchNormalization does.
        """
        if network.non_trainable_variables:
            names = [v.path for v in network.non_trainable_variables]
            raise ValueError(f"only weights that gradients move can be trained, not {names}")
        self._network, self._variables = network, network.trainable_variables
        self._sizes = [int(np.prod(v.shape)) for v in self._variables]
        start = np.concatenate([v.numpy().ravel() for v in self._variables])
        self.vector = tf.Variable(start.astype(np.float32), trainable=False)

    def __call__(
        self, weights: Sequence[tf.Tensor], inputs: list[tf.Tensor], training: bool
    ) -> tf.Tensor:
        """Returns what the network gives with the weights of each variable."""
        views = list(zip(self._variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=views):
            return self._network(inputs, training=training)

    def tensors(self) -> list[tf.Tensor]:
        """Returns the weights of each variable, in its shape."""
        parts = zip(self._variables, tf.split(self.vector, self._sizes), strict=True)
        return [tf.reshape(part, v.shape) for v, part in parts]

    def joined(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor:
        """Returns the gradients of `tensors` as one, `[W] float32`."""
        on_cpu = all(d.device_type == "CPU" for d in tf.config.list_logical_devices())
        dense = _dense if on_cpu else tf.convert_to_tensor
        return tf.concat([tf.reshape(dense(g), [-1]) for g in gradients], axis=0)

    def get_weights(self) -> list[np.ndarray]:
        """Returns the weights by variable."""
        parts = np.split(self.vector.numpy(), np.cumsum(self._sizes)[:-1])
        return [p.reshape(v.shape) for p, v in zip(parts, self._variables, strict=True)]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Takes over the weights by variable."""
        self.vector.assign(np.concatenate([np.ravel(w) for w in weights]))

    def of_kernels(self) -> np.ndarray:
        """Returns whether a weight belongs to a kernel, `[W] bool`."""
        return np.repeat([v.path.endswith("kernel") for v in self._variables], self._sizes)


def _dense(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    """Returns a gradient; of an embedding, the sum of its rows' gradients at each level.

    The sum is a product with a matrix that has a one for each row: half the time of
    `unsorted_segment_sum`, on a CPU.
    """
    if isinstance(gradient, tf.Tensor):
        return gradient
    shape = tf.cast(gradient.dense_shape, tf.int64)
    levels = tf.cast(tf.reshape(gradient.indices, [-1]), tf.int64)
    rows = tf.size(levels, tf.int64)
    return tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=tf.stack([levels, tf.range(rows)], axis=1),
        a_values=tf.ones([rows], gradient.dtype),
        a_shape=tf.stack([shape[0], rows]),
        b=tf.reshape(gradient.values, [rows, -1]),
    )


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) on a vector, as keras.optimizers.AdamW has it.

    Attributes:
        moments: The running means of the gradients and of their squares, `[W] float32` each.
    """

    def __init__(self, weights: Weights, learning_rate: float, weight_decay: float) -> None:
        """Makes the moments; call it under the strategy.

        Args:
            weights: What it moves.
            learning_rate: The size of a step.
            weight_decay: The share of a kernel's weight that a step takes away, times the rate.
        """
        self._vector, self._rate = weights.vector, learning_rate
        self._decay = np.float32(learning_rate * weight_decay * weights.of_kernels())
        zeros = np.zeros(weights.vector.shape, np.float32)
        self.moments = [tf.Variable(zeros, trainable=False) for _ in range(2)]

    def apply(self, gradient: tf.Tensor, step: tf.Tensor) -> None:
        """Moves the weights of this replica; every replica is given the same.

        Args:
            gradient: `[W] float32`, summed over the replicas; it is clipped to `CLIP_NORM`.
            step: The number of steps with this one, an integer.
        """
        (clipped,), _ = tf.clip_by_global_norm([gradient], CLIP_NORM)
        count = tf.cast(step, tf.float32)
        self._vector.assign_sub(self._vector * self._decay)
        first, second = self.moments
        tf.raw_ops.ResourceApplyAdam(
            var=self._vector.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=tf.pow(BETA_1, count),
            beta2_power=tf.pow(BETA_2, count),
            lr=self._rate,
            beta1=BETA_1,
            beta2=BETA_2,
            epsilon=EPSILON,
            grad=clipped,
        )


def move_average(
    average: tf.Variable, weights: tf.Variable, step: tf.Tensor, momentum: float
) -> None:
    """Moves an average of weights towards them, on this replica.

    The momentum of step n is min(momentum, (1 + n) / (10 + n)), as with `num_updates` of
    tf.train.ExponentialMovingAverage: a plain mean of the first steps would stay near the initial
    weights, and few steps would never leave them.

    Args:
        average: `[W] float32`.
        weights: `[W] float32`.
        step: The number of steps with this one, an integer.
        momentum: Of many steps; 0: the average is the weights.
    """
    count = tf.cast(step, tf.float32)
    kept = tf.minimum(momentum, (1.0 + count) / (10.0 + count))
    now = tf.convert_to_tensor(weights)
    average.assign(now + kept * (average - now))
