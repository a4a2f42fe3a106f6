"""Weights as one vector: what a step does to them is what Keras's AdamW does to each."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from quatrain.trainer.neural.optimizer import (
    CLIP_NORM,
    AdamW,
    Weights,
    dense_on_cpu,
    joined_gradients,
    move_average,
)

RATE, DECAY, MOMENTUM = 0.01, 0.5, 0.2


def network() -> keras.Model:
    """Returns a number and an index, embedded, under a dense layer: 3 variables, one a kernel."""
    number, index = keras.Input([1]), keras.Input([1], dtype="int32")
    table = keras.layers.Embedding(5, 2, keras.initializers.RandomNormal(seed=1))(index[:, 0])
    x = keras.layers.Concatenate()([number, table])
    start = keras.initializers.GlorotUniform(seed=2)
    return keras.Model([number, index], keras.layers.Dense(2, kernel_initializer=start)(x))


def batch(step: int) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns 8 rows, of which several have one index, and their labels."""
    random = np.random.default_rng(step)
    numbers = random.normal(size=(8, 1)).astype(np.float32)
    indices = random.integers(0, 4, (8, 1)).astype(np.int32)  # level 4 does not occur
    return [tf.constant(numbers), tf.constant(indices)], tf.constant(numbers + np.float32([1, -1]))


@pytest.mark.parametrize("scale", [0.1, 1000.0])  # gradients within CLIP_NORM, and far beyond
def test_five_steps_are_those_of_keras_clipped_averaged_and_decaying_kernels_alone(
    scale: float,
) -> None:
    by_keras = network()
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in by_keras.variables if not v.path.endswith("kernel")]
    )
    weights, average = Weights(network()), Weights(network())
    adamw = AdamW(weights, RATE, DECAY)
    expected = by_keras.get_weights()
    for step in range(1, 6):
        inputs, labels = batch(step)
        with tf.GradientTape() as tape:
            loss = scale * tf.reduce_mean(tf.square(by_keras(inputs, training=True) - labels))
        gradients = tape.gradient(loss, by_keras.trainable_variables)
        gradients = [tf.convert_to_tensor(g) for g in gradients]  # sparse, Keras leaves levels out
        gradients, norm = tf.clip_by_global_norm(gradients, CLIP_NORM)
        optimizer.apply_gradients(zip(gradients, by_keras.trainable_variables, strict=True))

        learned = weights.tensors()
        with tf.GradientTape() as tape:
            tape.watch(learned)
            outputs = weights(learned, inputs, training=True)
            loss = scale * tf.reduce_mean(tf.square(outputs - labels))
        adamw.apply(joined_gradients(tape.gradient(loss, learned), dense_on_cpu), tf.constant(step))
        move_average(average.vector, weights.vector, tf.constant(step), MOMENTUM)

        assert (norm > CLIP_NORM) == (scale > 1.0)
        share = min(MOMENTUM, (1 + step) / (10 + step))
        expected = [
            share * old + (1 - share) * new
            for old, new in zip(expected, by_keras.get_weights(), strict=True)
        ]
        for ours, keras_weights in [(weights, by_keras.get_weights()), (average, expected)]:
            for mine, theirs in zip(ours.get_weights(), keras_weights, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=1e-6)


def test_an_embeddings_gradient_is_the_same_on_any_device() -> None:
    weights = Weights(network())
    inputs, labels = batch(0)
    learned = weights.tensors()
    with tf.GradientTape() as tape:
        tape.watch(learned)
        loss = tf.reduce_mean(tf.square(weights(learned, inputs, training=True) - labels))
    gradients = tape.gradient(loss, learned)
    assert isinstance(gradients[0], tf.IndexedSlices)
    on_cpu = joined_gradients(gradients, dense_on_cpu)
    assert not on_cpu[8:10].numpy().any()  # level 4
    np.testing.assert_array_equal(joined_gradients(gradients, tf.convert_to_tensor), on_cpu)


def test_the_weights_of_kernels_are_marked() -> None:
    weights = Weights(network())
    assert weights.of_kernels().tolist() == [False] * 10 + [True] * 6 + [False] * 2


def test_weights_are_set_by_variable() -> None:
    weights, other = Weights(network()), network()
    values = [np.full_like(w, place) for place, w in enumerate(other.get_weights())]
    weights.set_weights(values)
    other.set_weights(values)
    for mine, theirs in zip(weights.get_weights(), values, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    inputs, _ = batch(0)
    outputs = weights(weights.tensors(), inputs, training=False)
    np.testing.assert_allclose(outputs, other(inputs), rtol=1e-6)


def test_a_network_that_changes_weights_when_it_is_called_is_refused() -> None:
    x = keras.Input([2])
    with pytest.raises(ValueError, match=r"'norm/moving_variance'\] are not moved"):
        Weights(keras.Model(x, keras.layers.BatchNormalization(name="norm")(x)))
