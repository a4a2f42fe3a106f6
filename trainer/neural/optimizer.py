"""The weights of a network as one vector, and the optimizer that moves it.

Keras's optimizer traces and runs about ten operations for each variable in a step. With a vector
there are five for all variables together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

CLIP_NORM = 1.0
"""Largest norm of all gradients together; without it AdamW diverges at a learning rate of 4e-3."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""The defaults of keras.optimizers.AdamW, to which a test compares every step."""


class Weights:
    """The trainable weights of a network in one variable, `[W] float32`.

    The network's own variables only supply shapes, names and initial values, and never change.

    Attributes:
        vector: The weights, in the order of `network.trainable_variables`.
    """

    def __init__(self, network: keras.Model) -> None:
        """Copies the network's weights into a vector; call it under the strategy.

        Args:
            network: A network whose layers change no weight when they are called.

        Raises:
            ValueError: The network has weights that are not trained by gradients, such as the
                moving averages of BatchNormalization.
        """
        if network.non_trainable_variables:
            names = [v.path for v in network.non_trainable_variables]
            raise ValueError(
                f"the weights {names} are not moved by gradients; leave their layers out"
            )
        self._network, self._variables = network, network.trainable_variables
        self._sizes = [int(np.prod(v.shape)) for v in self._variables]
        self.vector = tf.Variable(self._start(), trainable=False)

    def _start(self) -> np.ndarray:
        start = np.concatenate([v.numpy().ravel() for v in self._variables])
        return start.astype(np.float32)

    def reset(self) -> None:
        """Sets the weights to the initial values of the network."""
        self.vector.assign(self._start())

    def __call__(
        self, weights: Sequence[tf.Tensor], inputs: list[tf.Tensor], training: bool
    ) -> tf.Tensor:
        """Returns the network's outputs, computed with the weights in place of its variables."""
        views = list(zip(self._variables, weights, strict=True))
        # Within the scope, Keras reads its variables from the mapping; none is assigned.
        with keras.StatelessScope(state_mapping=views):
            return self._network(inputs, training=training)

    def tensors(self) -> list[tf.Tensor]:
        """Returns the weights as one tensor for each variable, in its shape."""
        parts = zip(self._variables, tf.split(self.vector, self._sizes), strict=True)
        return [tf.reshape(part, v.shape) for v, part in parts]

    def get_weights(self) -> list[np.ndarray]:
        """Returns the weights as one array for each variable, as Keras's `get_weights` does."""
        parts = np.split(self.vector.numpy(), np.cumsum(self._sizes)[:-1])
        return [p.reshape(v.shape) for p, v in zip(parts, self._variables, strict=True)]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Sets the weights from one array for each variable, as Keras's `set_weights` does."""
        self.vector.assign(np.concatenate([np.ravel(w) for w in weights]))

    def of_kernels(self) -> np.ndarray:
        """Returns whether a weight belongs to a kernel, `[W] bool`."""
        return np.repeat([v.path.endswith("kernel") for v in self._variables], self._sizes)


def joined_gradients(
    gradients: Sequence[tf.Tensor | tf.IndexedSlices],
    dense: Callable[[tf.Tensor | tf.IndexedSlices], tf.Tensor],
) -> tf.Tensor:
    """Returns the gradients of `Weights.tensors` as one vector, `[W] float32`.

    Args:
        gradients: One for each variable; sparse ones for embeddings.
        dense: Makes a tensor of a gradient.
    """
    return tf.concat([tf.reshape(dense(g), [-1]) for g in gradients], axis=0)


def dense_on_cpu(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    """Returns a gradient as a tensor; an embedding's is summed over the rows of each level.

    The sum is a product with a sparse matrix that has a one for each row. On a CPU that takes half
    the time of `unsorted_segment_sum`, which `tf.convert_to_tensor` would use.
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
    """AdamW (Loshchilov & Hutter 2019) on a vector, in the form of keras.optimizers.AdamW.

    Attributes:
        moments: Running means of the gradients and of their squares, `[W] float32` each.
    """

    def __init__(self, weights: Weights, learning_rate: float, weight_decay: float) -> None:
        """Creates the moments; call it under the strategy.

        Args:
            weights: The weights to move.
            learning_rate: The size of a step.
            weight_decay: A step shrinks the weights of kernels by this share, times the rate.
                Biases, embeddings and scalings do not decay.
        """
        self._vector, self._rate = weights.vector, learning_rate
        self._decay = np.float32(learning_rate * weight_decay * weights.of_kernels())
        zeros = np.zeros(weights.vector.shape, np.float32)
        self.moments = [tf.Variable(zeros, trainable=False) for _ in range(2)]

    def apply(self, gradient: tf.Tensor, step: tf.Tensor) -> None:
        """Moves the weights of this replica; all replicas do the same with the same gradient.

        Args:
            gradient: `[W] float32`, summed over the replicas; clipped to `CLIP_NORM` here.
            step: Number of this step, an integer from 1 up.
        """
        (clipped,), _ = tf.clip_by_global_norm([gradient], CLIP_NORM)
        count = tf.cast(step, tf.float32)
        self._vector.assign_sub(self._vector * self._decay)  # before the step, as in Keras
        first, second = self.moments
        # One fused operation. Its epsilon is the "epsilon hat" of Kingma & Ba 2015, as in Keras.
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
    """Moves the average of the weights towards the weights, on this replica.

    The momentum at step n is min(momentum, (1 + n) / (10 + n)), as with `num_updates` of
    tf.train.ExponentialMovingAverage. With a constant 0.995 the initial weights would still make up
    60 % of the average after 100 steps.

    Args:
        average: `[W] float32`.
        weights: `[W] float32`.
        step: Number of this step, an integer from 1 up.
        momentum: Momentum after many steps; 0: the average equals the weights.
    """
    count = tf.cast(step, tf.float32)
    share = tf.minimum(momentum, (1.0 + count) / (10.0 + count))
    current = tf.convert_to_tensor(weights)
    average.assign(current + share * (average - current))
