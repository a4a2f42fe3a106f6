"""Layers that Keras lacks: a number's embedding, members that share kernels, repeatable dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..features.fingerprint import murmur32_tensor

ONE_HOT = 16  # up to this many levels an index has a value of its own for each
BLOCK_WIDTH = 32  # outputs of all members' heads up to which zeros between them cost less
SOFT_BOUND = 4.0  # deviations at which a standardized number starts to count less


class NumberEmbedding(keras.layers.Layer):
    """A linear and a piecewise-linear embedding of each number, added.

    Between two knots of a number its piece rises from 0 to 1; an embedding is a weighted sum of the
    pieces, so a function of the number that is linear between knots (Gorishniy, Rubachev & Babenko
    2022, version B of the TabM reference: the pieces' weights start at 0). Below the first and
    above the last knot pieces are constant, so no number, however large, makes a large embedding.
    """

    def __init__(self, knots: Sequence[np.ndarray], size: int, seed: int, **kwargs: Any) -> None:
        """Keeps the pieces.

        Args:
            knots: Of each number, ascending.
            size: Width of an embedding.
            seed: Of the linear part.
            **kwargs: Keras's own (name, dtype).
        """
        super().__init__(**kwargs)
        self._size, self._seed = size, seed
        pieces = max((len(k) for k in knots), default=1) - 1
        self._starts = np.zeros((len(knots), pieces), np.float32)
        self._slopes = np.zeros((len(knots), pieces), np.float32)
        for place, k in enumerate(knots):
            self._starts[place, : len(k) - 1] = k[:-1]
            self._slopes[place, : len(k) - 1] = 1.0 / np.diff(k.astype(np.float64))

    def build(self, shape: Any) -> None:
        """Adds the weights of the linear part and of the pieces."""
        numbers, pieces = self._starts.shape
        start = keras.initializers.RandomUniform(-1.0, 1.0, seed=self._seed)
        self._linear = self.add_weight(
            shape=[numbers, self._size], initializer=start, name="linear"
        )
        self._bias = self.add_weight(shape=[numbers, self._size], initializer="zeros", name="bias")
        self._pieces = self.add_weight(
            shape=[numbers, pieces, self._size], initializer="zeros", name="pieces"
        )

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns `[B, F * size] float32` of `[B, F] float32`."""
        bounded = SOFT_BOUND * tf.tanh(numbers / SOFT_BOUND)
        linear = bounded[:, :, None] * self._linear + self._bias
        pieces = tf.clip_by_value((numbers[:, :, None] - self._starts) * self._slopes, 0.0, 1.0)
        embedded = linear + tf.einsum("bfp,fpe->bfe", pieces, self._pieces)
        return tf.reshape(embedded, [-1, self._starts.shape[0] * self._size])


class IndexEmbedding(keras.layers.Layer):
    """An embedding of each index: a trainable one-hot of few levels, else a short vector."""

    def __init__(self, levels: Sequence[int], size: int, seed: int, **kwargs: Any) -> None:
        """Keeps the shapes.

        Args:
            levels: Of each index.
            size: Width of an embedding of more than `ONE_HOT` levels.
            seed: Of the embeddings.
            **kwargs: Keras's own (name, dtype).
        """
        super().__init__(**kwargs)
        self._seed = seed
        self.widths = [n if n <= ONE_HOT else size for n in levels]
        self._levels = levels

    def build(self, shape: Any) -> None:
        """Adds a table an index."""
        self._tables = [
            self.add_weight(
                shape=[n, width],
                initializer=keras.initializers.IdentityInitializer()
                if n <= ONE_HOT
                else keras.initializers.RandomNormal(stddev=0.05, seed=self._seed + place),
                name=f"table_{place}",
            )
            for place, (n, width) in enumerate(zip(self._levels, self.widths, strict=True))
        ]

    def call(self, indices: tf.Tensor) -> tf.Tensor:
        """Returns `[B, sum of widths] float32` of `[B, K] int32`."""
        columns = tf.unstack(indices, len(self._tables), axis=1)
        parts = [tf.gather(table, k) for table, k in zip(self._tables, columns, strict=True)]
        return tf.concat(parts, axis=1)


class MemberDense(keras.layers.Layer):
    """A dense ReLU layer whose members share the kernel, each with its own scaling of the inputs.

    The first layer of TabM-mini (Gorishniy, Kotelnikov & Babenko 2025). Scaling the kernel's rows
    instead of the inputs gives the same outputs from one product `[B, D] x [D, members * H]`.
    """

    def __init__(
        self, members: int, units: int, chunks: Sequence[int], seed: int, **kwargs: Any
    ) -> None:
        """Keeps the shapes.

        Args:
            members: How many networks share the kernel.
            units: Width of the output.
            chunks: Widths of the columns' embeddings, which add up to the inputs' width; the
                scalings of a column start with one sign.
            seed: Of the kernel; the next one is of the signs.
            **kwargs: Keras's own (name, dtype).
        """
        super().__init__(**kwargs)
        self._members, self._units, self._chunks, self._seed = members, units, chunks, seed
        self._folded: list[np.ndarray] | None = None

    def build(self, shape: Any) -> None:
        """Adds the kernel, the scalings and the bias."""
        signs = np.random.default_rng(self._seed + 1).choice(
            np.array([-1.0, 1.0], np.float32), [self._members, len(self._chunks)]
        )
        self._kernel = self.add_weight(
            shape=[shape[-1], self._units],
            initializer=keras.initializers.HeUniform(seed=self._seed),
            name="kernel",
        )
        self._scalings = self.add_weight(
            shape=[self._members, shape[-1]],
            initializer=lambda shape, dtype: tf.constant(np.repeat(signs, self._chunks, axis=1)),
            name="scalings",
        )
        self._bias = self.add_weight(shape=[self._units], initializer="zeros", name="bias")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[B, members, units] float32` of `[B, D] float32`."""
        kernel, bias = self._folded or self._of_all_members()
        # Product, bias and ReLU in this shape and order are one fused kernel.
        outputs = tf.nn.bias_add(inputs @ kernel, bias)
        return tf.reshape(tf.nn.relu(outputs), [-1, self._members, self._units])

    def fold(self) -> None:
        """Computes once what no row changes: as much as a row's own answer, where one is asked."""
        self._folded = [part.numpy() for part in self._of_all_members()]

    def _of_all_members(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the kernel `[D, members * units]` and the bias of the one product."""
        kernels = tf.transpose(self._scalings)[:, :, None] * self._kernel[:, None, :]
        kernel = tf.reshape(kernels, [-1, self._members * self._units])
        return kernel, tf.tile(self._bias, [self._members])


class SharedDense(keras.layers.Layer):
    """A dense ReLU layer that all members share."""

    def __init__(self, units: int, seed: int, **kwargs: Any) -> None:
        """Keeps the shape.

        Args:
            units: Width of the output.
            seed: Of the kernel.
            **kwargs: Keras's own (name, dtype).
        """
        super().__init__(**kwargs)
        self._units, self._seed = units, seed

    def build(self, shape: Any) -> None:
        """Adds the kernel and the bias."""
        self._members, width = shape[1:]
        start = keras.initializers.HeUniform(seed=self._seed)
        self._kernel = self.add_weight(shape=[width, self._units], initializer=start, name="kernel")
        self._bias = self.add_weight(shape=[self._units], initializer="zeros", name="bias")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[B, members, units] float32` of `[B, members, H] float32`."""
        rows = tf.reshape(inputs, [-1, inputs.shape[2]]) @ self._kernel
        outputs = tf.nn.relu(tf.nn.bias_add(rows, self._bias))
        return tf.reshape(outputs, [-1, self._members, self._units])


class MemberHeads(keras.layers.Layer):
    """A dense layer of each member's own."""

    def __init__(self, units: int, seed: int, **kwargs: Any) -> None:
        """Keeps the shape.

        Args:
            units: Width of a member's output.
            seed: Of the kernels.
            **kwargs: Keras's own (name, dtype).
        """
        super().__init__(**kwargs)
        self._units, self._seed = units, seed
        self._folded: list[np.ndarray] | None = None

    def build(self, shape: Any) -> None:
        """Adds a kernel and a bias a member."""
        _, members, width = self._shape = shape
        bound = (6.0 / (width + self._units)) ** 0.5  # Glorot & Bengio 2010, of one member
        start = keras.initializers.RandomUniform(-bound, bound, seed=self._seed)
        self._kernels = self.add_weight(
            shape=[members, width, self._units], initializer=start, name="kernel"
        )
        self._biases = self.add_weight(
            shape=[members, self._units], initializer="zeros", name="bias"
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[B, members, units] float32` of `[B, members, H] float32`."""
        if self._folded is None:
            return tf.einsum("bmh,mhu->bmu", inputs, self._kernels) + self._biases
        _, members, width = self._shape
        kernel, bias = self._folded
        outputs = tf.nn.bias_add(tf.reshape(inputs, [-1, members * width]) @ kernel, bias)
        return tf.reshape(outputs, [-1, members, self._units])

    def fold(self) -> None:
        """Makes one product of all members' where that is faster, with zeros between members.

        Eight members' heads of one unit are 2 % of the network's multiplications; the rows need
        not be turned for it, which costs a tenth of the answer.
        """
        _, members, width = self._shape
        if members * self._units > BLOCK_WIDTH:
            return
        kernel = np.zeros([members, width, members, self._units], np.float32)
        for member, own in enumerate(np.asarray(self._kernels)):
            kernel[member, :, member] = own
        bias = np.asarray(self._biases).ravel()
        self._folded = [kernel.reshape(members * width, -1), bias]


class Dropout(keras.layers.Layer):
    """Dropout whose mask depends on the seed, the step and the row's place in the global batch.

    It has no state: a resumed training draws the masks it would have drawn, and 4 replicas draw
    together what one process draws. Its bits are two rounds of murmur3's finalizer on a counter, 8
    a unit, so the share dropped is a multiple of 1/256. The members of a row share its mask: masks
    of their own took 3 of 8 seconds of training.
    """

    def __init__(self, rate: float, step: tf.Variable, salt: int, **kwargs: Any) -> None:
        """Keeps what the mask depends on.

        Args:
            rate: The share of units that a training step drops.
            step: Counts the training steps.
            salt: Tells layers and seeds apart.
            **kwargs: Keras's own (name, dtype).
        """
        super().__init__(**kwargs)
        self._dropped, self._step, self._salt = min(255, round(rate * 256)), step, salt

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns `[B, members, H] float32`; in training some are 0 and the others scaled up."""
        if not training or self._dropped == 0:
            return inputs
        bits = _bits(tf.shape(inputs)[0], inputs.shape[2], self._step, self._salt)
        kept = tf.cast(bits >= self._dropped, tf.float32) * (256 / (256 - self._dropped))
        return inputs * kept[:, None, :]


def _bits(rows: tf.Tensor, units: int, step: tf.Variable, salt: int) -> tf.Tensor:
    """Returns 8 random bits, `[B, units] uint8`, the same for a row whichever replica holds it."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    words = -(-units // 4)  # four units share a counter
    size = rows * words
    counter = tf.range(size) + tf.cast(replica, tf.int32) * size
    key = murmur32_tensor(tf.cast(step, tf.uint32) + tf.constant(salt % 2**32, tf.uint32))
    mixed = murmur32_tensor(murmur32_tensor(tf.bitcast(counter, tf.uint32)) + key)
    bits = tf.bitcast(mixed, tf.uint8)
    return tf.reshape(bits, [rows, 4 * words])[:, :units]
