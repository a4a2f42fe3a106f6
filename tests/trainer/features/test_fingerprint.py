"""The fingerprint equals TensorFlow's kernel, and so BigQuery's."""

import numpy as np
import pyarrow as pa
import tensorflow as tf

from quatrain.trainer.features.fingerprint import (
    fingerprint64,
    multiply_xorshift,
    murmur32_tensor,
    splitmix64,
)


def test_every_length_class_equals_tensorflow_s_fingerprint() -> None:
    alphabet = "quatrain-éß漢" * 40
    texts = [alphabet[i % 7 :][:n] for n in range(300) for i in range(3)]
    expected = tf.fingerprint(texts, method="farmhash64").numpy().view(np.uint64).ravel()
    np.testing.assert_array_equal(fingerprint64(pa.array(texts)), expected)


def test_a_known_value_of_bigquery_s_farm_fingerprint() -> None:
    # BigQuery's reference: FARM_FINGERPRINT(CONCAT(CAST(1 AS STRING), 'foo', 'true')).
    signed = fingerprint64(pa.array(["1footrue"])).view(np.int64)
    assert signed[0] == -1541654101129638711


def test_missing_values_and_slices_hash_as_their_text() -> None:
    values = pa.array(["a", None, "b", "a"])
    whole = fingerprint64(values)
    assert whole[1] == fingerprint64(pa.array([""]))[0]
    np.testing.assert_array_equal(fingerprint64(values.slice(2)), whole[2:])


def test_the_mixers_give_their_published_values() -> None:
    # The first output of SplitMix64 with seed 0, whose state is then the golden ratio.
    golden_ratio = np.array([0x9E3779B97F4A7C15], np.uint64)
    assert splitmix64(golden_ratio)[0] == 0xE220A8397B1DCDAF
    # MurmurHash3's fmix32.
    mixed = murmur32_tensor(tf.constant([0, 1, 2], tf.uint32)).numpy()
    assert mixed.tolist() == [0, 0x514E28B7, 0x30F4C306]


def test_a_word_is_mixed_in_place() -> None:
    words = np.array([0, 1], np.uint64)
    multiply_xorshift(words, np.empty_like(words))
    assert words.tolist() == [0, 0xD6E8FEB8_6659FD93 ^ 0xD6E8FEB8]
