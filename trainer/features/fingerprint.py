"""Every hash of the project: FarmHash Fingerprint64 of strings, and mixers of integers.

The fingerprint is the function behind BigQuery's `FARM_FINGERPRINT` (there signed) and TensorFlow's
`tf.strings.to_hash_bucket_fast`. A split or a hash feature can therefore be reproduced in SQL, and
the serving graph computes the same buckets. Source: google/farmhash, `farmhashna::Hash64`.

The mixers differ in width and cost, and none can replace another without changing rows, samples or
weights: `splitmix64` mixes best; `multiply_xorshift` is a single cheap round, repeated for each
word of a text; `murmur32_tensor` runs inside TensorFlow graphs, where 32 bits serve four units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import tensorflow as tf

U64 = np.ndarray[Any, np.dtype[np.uint64]]

K0 = np.uint64(0xC3A5C85C97CB3127)
K1 = np.uint64(0xB492B66FBE98F273)
K2 = np.uint64(0x9AE16A3B2F90404F)
"""The primes of FarmHash, from its source; another value would give another fingerprint."""
WORD_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
"""The multiplier of `multiply_xorshift`; odd, so nothing is lost. From degski's 64-bit mixer."""
_PADDING = 64  # zero bytes after the text: a word of 8 bytes is read at every position


def fingerprint64(values: pa.Array | pa.ChunkedArray) -> U64:
    """Returns the fingerprint of each string, `[N] uint64`; null has the fingerprint of ''.

    Each distinct string is hashed once.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = pc.fill_null(values, "").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = _hash_distinct(encoded.dictionary)
    return distinct[encoded.indices.to_numpy(zero_copy_only=False)]


def splitmix64(values: U64) -> U64:
    """Mixes the bits of `[N] uint64`: each bit of a value changes about half of its result's bits.

    The last step of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014; Stafford's variant 13). It is a
    bijection: distinct values stay distinct.
    """
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(multiplier)
    return values ^ (values >> np.uint64(31))


def multiply_xorshift(words: U64, spare: U64) -> None:
    """Mixes the bits of `[N] uint64` in place by one multiplication and one shift; a bijection.

    Args:
        words: What is mixed.
        spare: Scratch space of the same shape. Fresh pages for the shifted words would cost more
            than the arithmetic.
    """
    words *= WORD_MULTIPLIER
    np.right_shift(words, np.uint64(32), out=spare)
    words ^= spare


def murmur32_tensor(values: tf.Tensor) -> tf.Tensor:
    """Mixes the bits of a uint32 tensor of any shape by MurmurHash3's finalizer (Appleby, 2011)."""
    import tensorflow as tf

    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        shifted = tf.bitwise.right_shift(values, tf.constant(shift, tf.uint32))
        values = tf.bitwise.bitwise_xor(values, shifted) * tf.constant(factor, tf.uint32)
    return values


def text_bytes(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the UTF-8 bytes behind an array of strings `[N]`, without copying them.

    Returns:
        The bytes `[B] uint8`, and the offsets `[N + 1] int64`: string i lies between offsets i and
        i + 1. The bytes of a slice hold the whole array, so its first offset may be above 0.
    """
    values = values.cast(pa.large_string())
    if len(values) == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, offsets_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[values.offset :][: len(values) + 1]
    text = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    return text, offsets


def distinct_rows(columns: list[pa.Array]) -> tuple[np.ndarray, list[pa.Array]]:
    """Finds the distinct combinations of some columns.

    Crossed columns usually have few combinations (hour and weekday: 168), and only these need to be
    written as text and hashed.

    Args:
        columns: `[N]` each, plain or dictionary-encoded; null is a value like any other.

    Returns:
        The combination of each row, `[N]`, and the columns of the combinations, `[K]` each.
    """
    encoded = [_encoded(c) for c in columns]
    sizes = [max(len(e.dictionary), 1) for e in encoded]
    if np.prod([float(s) for s in sizes]) >= 2.0**62:  # their number would overflow int64
        return np.arange(len(columns[0])), [e.dictionary.take(e.indices) for e in encoded]
    codes = encoded[0].indices.to_numpy().astype(np.int64)
    for column, size in zip(encoded[1:], sizes[1:], strict=True):
        codes *= size
        codes += column.indices.to_numpy()
    rows, combinations = _renumbered(codes, int(np.prod(sizes)))
    keys: list[pa.Array] = []
    for column, size in zip(reversed(encoded), reversed(sizes), strict=True):
        combinations, code = np.divmod(combinations, size)
        keys.insert(0, column.dictionary.take(pa.array(code)))
    return rows, keys


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_dictionary(column.type):
        return column
    return column.dictionary_encode(null_encoding="encode")


def _renumbered(codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the codes that occur from 0 up; returns the new codes `[N]` and the old ones `[K]`.

    Args:
        codes: `[N] int64`, each in [0, `n`).
        n: How many codes there could be.
    """
    if n > 4 * len(codes):  # a table of all codes would be larger than what it numbers
        encoded = pa.array(codes).dictionary_encode()
        return encoded.indices.to_numpy(), encoded.dictionary.to_numpy()
    occurs = np.zeros(n, bool)
    occurs[codes] = True
    return (np.cumsum(occurs) - 1).take(codes), np.flatnonzero(occurs)


def _hash_distinct(values: pa.Array) -> U64:
    text, offsets = text_bytes(values)
    return fingerprint_spans(text, offsets[:-1], np.diff(offsets))


def fingerprint_spans(text: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    """Returns the fingerprint of each span of a text; spans may overlap.

    FarmHash has one formula for each class of lengths, so the spans of a class are hashed together.

    Args:
        text: The bytes, `[B] uint8`.
        start: First byte of each span, `[P] int64`.
        length: Bytes of each span, `[P] int64`.

    Returns:
        `[P] uint64`.
    """
    padded = np.concatenate([text, np.zeros(_PADDING, np.uint8)])
    out = np.empty(len(start), np.uint64)
    for low, high, function in _BY_LENGTH:
        chosen = np.flatnonzero((length >= low) & (length <= high))
        if chosen.size:
            with np.errstate(over="ignore"):  # the arithmetic is modulo 2^64
                out[chosen] = function(padded, start[chosen], length[chosen])
    return out


def _fetch(data: np.ndarray, position: np.ndarray, width: int = 8) -> U64:
    """Reads a little-endian word of `width` bytes at each position."""
    # The view has a word at every byte; taking words from it is 3.6 times as fast as joining bytes.
    words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))[position]
    return words if width == 8 else words & np.uint64((1 << 8 * width) - 1)


# From here on the code follows farmhashna.cc, with the names of its variables, for all strings of a
# class of lengths at once. `tf.strings.to_hash_bucket_fast` gives the same, which a test checks.


def _rotate(value: U64, shift: int) -> U64:
    # Never by 0, for which the shift by 64 to the left would be undefined.
    return (value >> np.uint64(shift)) | (value << np.uint64(64 - shift))


def _shift_mix(value: U64) -> U64:
    return value ^ (value >> np.uint64(47))


def _mix16(u: U64, v: U64, multiplier: U64) -> U64:
    a = _shift_mix((u ^ v) * multiplier)
    return _shift_mix((v ^ a) * multiplier) * multiplier


def _hash_0(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    return np.full(start.shape, K2, np.uint64)


def _hash_1_to_3(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    first = data[start].astype(np.uint64)
    middle = data[start + (length >> 1)].astype(np.uint64)
    last = data[start + length - 1].astype(np.uint64)
    y = first + (middle << np.uint64(8))
    z = length.astype(np.uint64) + (last << np.uint64(2))
    return _shift_mix((y * K2) ^ (z * K0)) * K2


def _hash_4_to_7(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    n = length.astype(np.uint64)
    multiplier = K2 + n * np.uint64(2)
    a = _fetch(data, start, 4)
    return _mix16(n + (a << np.uint64(3)), _fetch(data, start + length - 4, 4), multiplier)


def _hash_8_to_16(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    multiplier = K2 + length.astype(np.uint64) * np.uint64(2)
    a = _fetch(data, start) + K2
    b = _fetch(data, start + length - 8)
    c = _rotate(b, 37) * multiplier + a
    d = (_rotate(a, 25) + b) * multiplier
    return _mix16(c, d, multiplier)


def _hash_17_to_32(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    multiplier = K2 + length.astype(np.uint64) * np.uint64(2)
    end = start + length
    a = _fetch(data, start) * K1
    b = _fetch(data, start + 8)
    c = _fetch(data, end - 8) * multiplier
    d = _fetch(data, end - 16) * K2
    return _mix16(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + K2, 18) + c, multiplier)


def _hash_33_to_64(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    multiplier = K2 + length.astype(np.uint64) * np.uint64(2)
    end = start + length
    a = _fetch(data, start) * K2
    b = _fetch(data, start + 8)
    c = _fetch(data, end - 8) * multiplier
    d = _fetch(data, end - 16) * K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _mix16(y, a + _rotate(b + K2, 18) + c, multiplier)
    e = _fetch(data, start + 16) * multiplier
    f = _fetch(data, start + 24)
    g = (y + _fetch(data, end - 32)) * multiplier
    h = (z + _fetch(data, end - 24)) * multiplier
    return _mix16(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, multiplier)


def _weak32(data: np.ndarray, at: np.ndarray, a: U64, b: U64) -> tuple[U64, U64]:
    w, x, y, z = (_fetch(data, at + 8 * i) for i in range(4))
    a = a + w
    b = _rotate(b + a + z, 21)
    c = a
    a = a + x + y
    return a + z, b + _rotate(a, 44) + c


def _hash_long(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> U64:
    """Hashes strings of more than 64 bytes, a block of 64 bytes of all of them at a time."""
    seed = np.uint64(81)  # of farmhashna::Hash64, as is the 113 below
    n = len(start)
    x = np.full(n, seed, np.uint64)
    y = np.full(n, seed * K1 + np.uint64(113), np.uint64)
    z = _shift_mix(y * K2 + np.uint64(113)) * K2
    v = (np.zeros(n, np.uint64), np.zeros(n, np.uint64))
    w = (np.zeros(n, np.uint64), np.zeros(n, np.uint64))
    x = x * K2 + _fetch(data, start)
    # The last 1 to 64 bytes are left to the tail, which reads the last 64 bytes of the string.
    blocks = (length - 1) // 64
    state = np.stack([x, y, z, *v, *w])
    for block in range(int(blocks.max())):
        live = np.flatnonzero(blocks > block)
        state[:, live] = _long_round(data, start[live] + 64 * block, state[:, live])
    return _long_tail(data, start + length - 64, length, state)


def _long_round(data: np.ndarray, at: np.ndarray, state: np.ndarray) -> np.ndarray:
    x, y, z, v0, v1, w0, w1 = state
    x = _rotate(x + y + v0 + _fetch(data, at + 8), 37) * K1
    y = _rotate(y + v1 + _fetch(data, at + 48), 42) * K1
    x = x ^ w1
    y = y + v0 + _fetch(data, at + 40)
    z = _rotate(z + w0, 33) * K1
    v0, v1 = _weak32(data, at, v1 * K1, x + w0)
    w0, w1 = _weak32(data, at + 32, z + w1, y + _fetch(data, at + 16))
    return np.stack([z, y, x, v0, v1, w0, w1])  # z and x change places after each block


def _long_tail(data: np.ndarray, at: np.ndarray, length: np.ndarray, state: np.ndarray) -> U64:
    x, y, z, v0, v1, w0, w1 = state
    multiplier = K1 + ((z & np.uint64(0xFF)) << np.uint64(1))
    w0 = w0 + ((length.astype(np.uint64) - np.uint64(1)) & np.uint64(63))
    v0 = v0 + w0
    w0 = w0 + v0
    x = _rotate(x + y + v0 + _fetch(data, at + 8), 37) * multiplier
    y = _rotate(y + v1 + _fetch(data, at + 48), 42) * multiplier
    x = x ^ (w1 * np.uint64(9))
    y = y + v0 * np.uint64(9) + _fetch(data, at + 40)
    z = _rotate(z + w0, 33) * multiplier
    v0, v1 = _weak32(data, at, v1 * multiplier, x + w0)
    w0, w1 = _weak32(data, at + 32, z + w1, y + _fetch(data, at + 16))
    z, x = x, z
    return _mix16(
        _mix16(v0, w0, multiplier) + _shift_mix(y) * K0 + z,
        _mix16(v1, w1, multiplier) + x,
        multiplier,
    )


_BY_LENGTH = (
    (0, 0, _hash_0),
    (1, 3, _hash_1_to_3),
    (4, 7, _hash_4_to_7),
    (8, 16, _hash_8_to_16),
    (17, 32, _hash_17_to_32),
    (33, 64, _hash_33_to_64),
    (65, np.iinfo(np.int64).max, _hash_long),
)
