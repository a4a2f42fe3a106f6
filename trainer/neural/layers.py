"""Layers that Keras lacks: number embeddings, members that share a kernel, repeatable dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..features.fingerprint import murmur32_tensor

ONE_HOT = 16
"""Most levels of an index whose embedding starts as one-hot; more levels get a short vector."""
WIDTH = 1024
"""Width of all embeddings together above which each of them is narrower: the cost of a step follows
it. With 128 columns, each still has a width of 8."""
BLOCK_WIDTH = 32
"""Most outputs of all heads for which a block-diagonal kernel, mostly zeros, is the faster one."""
SOFT_BOUND = 4.0
"""Bound, in standard deviations, of a number in the linear embedding: 4 tanh(x / 4)."""


def embedding_width(columns: int, most: int) -> int:
    """Returns the width of a column's embedding.

    Args:
        columns: Number of columns.
        most: Most width, which a table of few columns has.
    """
    return max(1, min(most, WIDTH // max(1, columns)))


class NumberEmbedding(keras.layers.Layer):
    """The sum of a linear and a piecewise-linear embedding of each number.

    A piece lies between two neighbouring knots and rises from 0 to 1 there. A weighted sum of the
    pieces is a function that is linear between knots (Gorishniy, Rubachev & Babenko 2022; "version
    B" of the TabM reference, where the weights of the pieces start at 0). Pieces are constant
    beyond the first and the last knot, and the linear part is bounded, so an extreme number cannot
    have an extreme embedding.
    """

    def __init__(self, knots: Sequence[np.ndarray], size: int, seed: int, **kwargs: Any) -> None:
        """Computes start and slope of each piece.

        Args:
            knots: The knots of each number, ascending `[P] float32`.
            size: Width of an embedding.
            seed: Seed of the linear part.
            **kwargs: Arguments of every Keras layer (name, dtype).
        """
        super().__init__(**kwargs)
        self._size, self._seed = size, seed
        pieces = max((len(k) for k in knots), default=1) - 1
        self._starts = np.zeros((len(knots), pieces), np.float32)
        # A number with fewer pieces than others has slopes of 0 in the rest, which are then 0.
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
        """Maps numbers `[B, F] float32` to embeddings `[B, F * size] float32`."""
        bounded = SOFT_BOUND * tf.tanh(numbers / SOFT_BOUND)
        linear = bounded[:, :, None] * self._linear + self._bias
        pieces = tf.clip_by_value((numbers[:, :, None] - self._starts) * self._slopes, 0.0, 1.0)
        embedded = linear + tf.einsum("bfp,fpe->bfe", pieces, self._pieces)
        return tf.reshape(embedded, [-1, self._starts.shape[0] * self._size])


class Renumbering(keras.layers.Layer):
    """Other numbers for the values of each index, so that several can share one."""

    def __init__(self, numbers: Sequence[np.ndarray], **kwargs: Any) -> None:
        """Sets the numbers.

        Args:
            numbers: The number of each value, `[cardinality] int32` for each index.
            **kwargs: Arguments of every Keras layer (name, dtype).
        """
        super().__init__(**kwargs)
        self._numbers = np.concatenate(numbers).astype(np.int32)
        self._starts = np.cumsum([0, *map(len, numbers)])[:-1].astype(np.int32)

    def call(self, indices: tf.Tensor) -> tf.Tensor:
        """Maps indices `[B, K] int32` to their numbers `[B, K] int32`."""
        return tf.gather(tf.constant(self._numbers), indices + self._starts)


def trusted(counts: np.ndarray, least: int) -> np.ndarray:
    """Returns how much each level's own embedding counts, `[levels] float32` from 0 to 1.

    That of a level of n rows counts n / (n + least) below `least` rows, and fully from there on.

    Args:
        counts: Train rows of each level, `[levels]`.
        least: Rows from which a level is trusted to stand for itself.
    """
    shrunken = counts / (counts + float(least))
    return np.where(counts < least, shrunken, 1.0).astype(np.float32)


class IndexEmbedding(keras.layers.Layer):
    """An embedding of each index: a trainable one-hot if it has few levels, else a short vector.

    A level that is not fully trusted has a weighted mean of its own embedding and of one that all
    such levels of its index share; without any trust, as where no train row has it, only the shared
    one. That is what the rows of the rare levels have taught, and so what a new level gets.
    """

    def __init__(
        self,
        trust: Sequence[np.ndarray],
        size: int,
        seed: int,
        one_hot: int = ONE_HOT,
        **kwargs: Any,
    ) -> None:
        """Sets the widths.

        Args:
            trust: The weight of each level's own embedding, `[levels] float32` for each index.
            size: Width of the embedding of an index with more than `one_hot` levels.
            seed: Seed of the embeddings.
            one_hot: Most levels of an index whose embedding starts as one-hot.
            **kwargs: Arguments of every Keras layer (name, dtype).
        """
        super().__init__(**kwargs)
        self._seed, self._one_hot = seed, one_hot
        self.widths = [len(t) if len(t) <= one_hot else size for t in trust]
        self._trust = trust

    def build(self, shape: Any) -> None:
        """Adds a table for each index, and the shared embedding where a level needs it."""
        self._tables, self._shared = [], []
        for place, (trust, width) in enumerate(zip(self._trust, self.widths, strict=True)):
            start = (
                keras.initializers.IdentityInitializer()
                if len(trust) <= self._one_hot
                else keras.initializers.RandomNormal(stddev=0.05, seed=self._seed + place)
            )
            self._tables.append(
                self.add_weight(shape=[len(trust), width], initializer=start, name=f"table_{place}")
            )
            self._shared.append(
                self.add_weight(shape=[width], initializer="zeros", name=f"shared_{place}")
                if (trust < 1.0).any()
                else None
            )

    def call(self, indices: tf.Tensor) -> tf.Tensor:
        """Maps indices `[B, K] int32` to embeddings `[B, sum of widths] float32`."""
        parts = []
        for place, index in enumerate(tf.unstack(indices, len(self._tables), axis=1)):
            own, shared = tf.gather(self._tables[place], index), self._shared[place]
            if shared is not None:
                trust = tf.gather(tf.constant(self._trust[place]), index)[:, None]
                own = trust * own + (1.0 - trust) * shared
            parts.append(own)
        return tf.concat(parts, axis=1)


class MemberDense(keras.layers.Layer):
    """A dense ReLU layer with one kernel for all members, each with its own scaling of the inputs.

    It is the first layer of TabM-mini (Gorishniy, Kotelnikov & Babenko 2025). Scaling the rows of
    the kernel in place of the inputs gives the same outputs with a single product
    `[B, D] x [D, members * H]`.
    """

    def __init__(
        self, members: int, units: int, chunks: Sequence[int], seed: int, **kwargs: Any
    ) -> None:
        """Sets the shapes.

        Args:
            members: Number of networks that share the kernel.
            units: Width of the output.
            chunks: Widths of the columns' embeddings; their sum is the width of the input. All
                scalings of one column and member start with the same random sign.
            seed: Seed of the kernel; `seed` + 1 is that of the signs.
            **kwargs: Arguments of every Keras layer (name, dtype).
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
        """Maps `[B, D] float32` to `[B, members, units] float32`."""
        kernel, bias = self._folded or self._of_all_members()
        # In this shape and order, TensorFlow fuses product, bias and ReLU into one operation.
        outputs = tf.nn.bias_add(inputs @ kernel, bias)
        return tf.reshape(tf.nn.relu(outputs), [-1, self._members, self._units])

    def fold(self) -> None:
        """Computes the scaled kernel once and for all, when training is over.

        To answer a single row, scaling the kernel would cost as much as the rest of the answer.
        """
        self._folded = [part.numpy() for part in self._of_all_members()]

    def _of_all_members(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the scaled kernel `[D, members * units]` and the bias `[members * units]`."""
        kernels = tf.transpose(self._scalings)[:, :, None] * self._kernel[:, None, :]
        kernel = tf.reshape(kernels, [-1, self._members * self._units])
        return kernel, tf.tile(self._bias, [self._members])


class SharedDense(keras.layers.Layer):
    """A dense ReLU layer that all members share."""

    def __init__(self, units: int, seed: int, **kwargs: Any) -> None:
        """Sets the shape.

        Args:
            units: Width of the output.
            seed: Seed of the kernel.
            **kwargs: Arguments of every Keras layer (name, dtype).
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
        """Maps `[B, members, H] float32` to `[B, members, units] float32`."""
        rows = tf.reshape(inputs, [-1, inputs.shape[2]]) @ self._kernel
        outputs = tf.nn.relu(tf.nn.bias_add(rows, self._bias))
        return tf.reshape(outputs, [-1, self._members, self._units])


class MemberHeads(keras.layers.Layer):
    """A dense layer without activation for each member: the outputs."""

    def __init__(self, units: int, seed: int, **kwargs: Any) -> None:
        """Sets the shape.

        Args:
            units: Width of a member's output.
            seed: Seed of the kernels.
            **kwargs: Arguments of every Keras layer (name, dtype).
        """
        super().__init__(**kwargs)
        self._units, self._seed = units, seed
        self._folded: list[np.ndarray] | None = None

    def build(self, shape: Any) -> None:
        """Adds a kernel and a bias for each member."""
        _, members, width = self._shape = shape
        # Glorot & Bengio 2010, for one member; Keras would multiply both fans by the members.
        bound = (6.0 / (width + self._units)) ** 0.5
        start = keras.initializers.RandomUniform(-bound, bound, seed=self._seed)
        self._kernels = self.add_weight(
            shape=[members, width, self._units], initializer=start, name="kernel"
        )
        self._biases = self.add_weight(
            shape=[members, self._units], initializer="zeros", name="bias"
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps `[B, members, H] float32` to `[B, members, units] float32`."""
        if self._folded is None:
            return tf.einsum("bmh,mhu->bmu", inputs, self._kernels) + self._biases
        _, members, width = self._shape
        kernel, bias = self._folded
        outputs = tf.nn.bias_add(tf.reshape(inputs, [-1, members * width]) @ kernel, bias)
        return tf.reshape(outputs, [-1, members, self._units])

    def fold(self) -> None:
        """Replaces the members' products by one with a block-diagonal kernel, where that is faster.

        The heads of eight members with one unit are 2 % of the network's multiplications, so the
        zeros between the blocks cost little. Without the blocks the rows would have to be
        transposed, which takes a tenth of the time of an answer.
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

    It has no state: a resumed training draws the masks that it would have drawn without the break,
    and 4 replicas together draw the masks of a single process. The bits are two rounds of
    MurmurHash3's finalizer on a counter. A unit gets 8 bits, so the share that is dropped is a
    multiple of 1/256. All members of a row have the same mask: separate masks took 3 of 8 seconds
    of training.
    """

    def __init__(self, rate: float, step: tf.Variable, salt: int, **kwargs: Any) -> None:
        """Sets what the mask depends on.

        Args:
            rate: Share of the units that a training step drops, in [0, 1).
            step: Counts the training steps.
            salt: A number that differs between layers and between seeds.
            **kwargs: Arguments of every Keras layer (name, dtype).
        """
        super().__init__(**kwargs)
        self._dropped, self._step, self._salt = min(255, round(rate * 256)), step, salt

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the inputs `[B, members, H] float32`; in training, dropped units are 0.

        The scale 1 / (1 - rate) leaves the expectation of a unit as it was.
        """
        if not training or self._dropped == 0:
            return inputs
        bits = _bits(tf.shape(inputs)[0], inputs.shape[2], self._step, self._salt)
        mask = tf.cast(bits >= self._dropped, tf.float32) * (256 / (256 - self._dropped))
        return inputs * mask[:, None, :]


def _bits(rows: tf.Tensor, units: int, step: tf.Variable, salt: int) -> tf.Tensor:
    """Returns 8 random bits a unit, `[B, units] uint8`, whichever replica holds a row."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    words = -(-units // 4)  # a counter is hashed to 32 bits, enough for four units
    size = rows * words
    counter = tf.range(size) + tf.cast(replica, tf.int32) * size
    key = murmur32_tensor(tf.cast(step, tf.uint32) + tf.constant(salt % 2**32, tf.uint32))
    mixed = murmur32_tensor(murmur32_tensor(tf.bitcast(counter, tf.uint32)) + key)
    bits = tf.bitcast(mixed, tf.uint8)
    return tf.reshape(bits, [rows, 4 * words])[:, :units]
