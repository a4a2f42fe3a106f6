"""The fingerprint equals TensorFlow's kernel, and so BigQuery's."""

import numpy as np
import pyarrow as pa
import tensorflow as tf

from quatrain.trainer.features.fingerprint import fingerprint64


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
