import numpy as np
import pytest
import tensorflow as tf

from quatrain.trainer.neural.layers import (
    BLOCK_WIDTH,
    Dropout,
    IndexEmbedding,
    MemberDense,
    MemberHeads,
    NumberEmbedding,
    embedding_width,
    trusted,
)

ROWS = tf.ones([400, 2, 33])


def masks(rate: float = 0.25, step: int = 1, salt: int = 0) -> np.ndarray:
    layer = Dropout(rate, tf.Variable(step, dtype=tf.int64), salt)
    dropped = layer(ROWS, training=True).numpy()
    np.testing.assert_array_equal(dropped[:, 0], dropped[:, 1])  # members share their row's mask
    return dropped[:, 0]


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


def test_a_piece_rises_between_its_knots_and_stays_beyond_them() -> None:
    layer = NumberEmbedding([np.float32([0, 1, 3]), np.float32([5])], size=1, seed=0)
    layer.build([None, 2])
    # The first number's pieces weigh 10 and 100; its linear part and the second number's are 0.
    layer.set_weights(
        [np.zeros([2, 1]), np.zeros([2, 1]), np.array([[[10.0], [100.0]], [[7.0], [7.0]]])]
    )
    first = np.float32([-9, 0, 0.5, 1, 2, 3, 3e38])
    embedded = layer(tf.stack([first, np.full(7, 5, np.float32)], axis=1))
    np.testing.assert_allclose(embedded[:, 0], [0, 0, 5, 10, 60, 110, 110])
    np.testing.assert_array_equal(embedded[:, 1], np.zeros(7))  # one value has no piece


def test_members_scale_the_inputs_of_one_kernel() -> None:
    layer = MemberDense(members=2, units=2, chunks=[1, 1], seed=0)
    layer.build([None, 2])
    kernel, bias = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -20.0])
    layer.set_weights([kernel, np.array([[1.0, 1.0], [-1.0, 2.0]]), bias])
    # [1, 2] times the kernel is [7, 10]; scaled to [-1, 4] it is [11, 14].
    np.testing.assert_allclose(layer(tf.constant([[1.0, 2.0]])), [[[7.5, 0.0], [11.5, 0.0]]])


def test_the_scalings_of_a_column_start_with_one_sign() -> None:
    layer = MemberDense(members=8, units=4, chunks=[3, 2], seed=0)
    layer.build([None, 5])
    scalings = layer.get_weights()[1]
    assert set(np.unique(scalings)) == {-1.0, 1.0}
    assert (scalings[:, :3] == scalings[:, :1]).all()
    assert (scalings[:, 3:] == scalings[:, 3:4]).all()


def test_folded_layers_answer_as_before() -> None:
    dense = MemberDense(members=3, units=4, chunks=[2, 3], seed=0)
    heads = MemberHeads(units=2, seed=9)
    rows = tf.constant(np.random.default_rng(0).normal(size=[7, 5]).astype(np.float32))
    hidden = dense(rows)
    outputs = heads(hidden)
    heads.set_weights([heads.get_weights()[0], np.arange(6.0).reshape(3, 2)])
    outputs += heads.get_weights()[1]
    dense.fold()
    heads.fold()
    np.testing.assert_array_equal(dense(rows), hidden)
    np.testing.assert_allclose(heads(hidden), outputs, rtol=1e-5, atol=1e-6)


def test_heads_of_many_outputs_are_not_folded() -> None:
    heads = MemberHeads(units=BLOCK_WIDTH // 2, seed=0)
    hidden = tf.ones([2, 3, 4])
    outputs = heads(hidden)
    heads.fold()
    np.testing.assert_array_equal(heads(hidden), outputs)


@pytest.mark.parametrize(("columns", "width"), [(0, 8), (128, 8), (129, 7), (751, 1), (5_000, 1)])
def test_the_columns_of_a_wide_table_have_narrow_embeddings(columns: int, width: int) -> None:
    assert embedding_width(columns, 8) == width


def test_an_index_of_more_levels_than_one_hot_has_a_short_vector() -> None:
    layer = IndexEmbedding([np.ones(2), np.ones(3)], size=1, seed=0, one_hot=2)
    layer.build([None, 2])
    assert layer(tf.constant([[0, 1], [1, 2]])).shape == (2, 3)
    assert layer.widths == [2, 1]
    np.testing.assert_array_equal(layer.get_weights()[0], np.eye(2))


def test_a_level_of_few_rows_shares_an_embedding_with_others_like_it() -> None:
    trust = trusted(np.array([10, 5, 0]), least=10)
    np.testing.assert_allclose(trust, [1.0, 1 / 3, 0.0])
    layer = IndexEmbedding([trust], size=2, seed=0, one_hot=2)
    layer.build([None, 1])
    own, shared = np.arange(6.0).reshape(3, 2), np.array([10.0, 20.0])
    layer.set_weights([own, shared])
    answers = layer(tf.constant([[0], [1], [2]]))
    np.testing.assert_allclose(answers, [own[0], own[1] / 3 + shared * 2 / 3, shared], rtol=1e-6)
