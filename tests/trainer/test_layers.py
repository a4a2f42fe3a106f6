import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import Dropout

ROWS = tf.ones([400, 33])


def masks(rate: float = 0.25, step: int = 1, salt: int = 0) -> np.ndarray:
    layer = Dropout(rate, tf.Variable(step, dtype=tf.int64), salt)
    return layer(ROWS, training=True).numpy()


def test_the_stated_share_is_dropped_and_the_mean_is_kept() -> None:
    dropped = masks()
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert (dropped == 0.0).mean() == pytest.approx(0.25, abs=0.01)  # 2.6 standard errors
    assert (dropped == 0.0).mean(axis=0).std() < 0.04  # 0.022 expected of 400 draws


def test_outside_training_nothing_is_dropped() -> None:
    layer = Dropout(0.25, tf.Variable(1, dtype=tf.int64), 0)
    np.testing.assert_array_equal(layer(ROWS, training=False), ROWS)


def test_the_mask_depends_on_the_step_and_the_salt_alone() -> None:
    np.testing.assert_array_equal(masks(step=5, salt=3), masks(step=5, salt=3))
    agree = [(masks(0.5, 5, 3) == masks(0.5, *other)).mean() for other in [(6, 3), (5, 4)]]
    assert agree == pytest.approx([0.5, 0.5], abs=0.02)


def test_compiled_by_xla_the_mask_is_the_same() -> None:
    layer = Dropout(0.25, tf.Variable(7, dtype=tf.int64), 1)
    compiled = tf.function(lambda x: layer(x, training=True), jit_compile=True)
    np.testing.assert_array_equal(compiled(ROWS), layer(ROWS, training=True))
