"""How the text of a column is written, and how it is tidied before anything else sees it.

`tidy_numpy` and `tidy_tensor` are one function: the first runs where rows are cleaned, the second
inside the exported model. Both know ASCII alone, where Arrow and TensorFlow agree on every
character; beyond it they do not (Arrow makes one letter of the Turkish dotted I, TensorFlow two).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import tensorflow as tf

Case = Literal["lower", "upper"]
Epoch = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class Spelling:
    """How the values of a column are written, where it is not the usual way.

    Attributes:
        format: Of a time or date, as strptime takes it: %d/%m/%Y %H:%M.
        epoch: Of a time: a whole number of these since 1970 UTC.
        true_values: What a bool's truth is written as; with `false_values`.
        false_values: What its falsehood is written as.
    """

    format: str | None = None
    epoch: Epoch | None = None
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()


def tidy_numpy(text: pa.Array, trim: bool, case: Case | None) -> pa.Array:
    r"""Returns `[N] string` without blanks around it (space, \t, \n, \v, \f, \r), A-Z folded."""
    if trim:
        text = pc.ascii_trim_whitespace(text)
    if case:
        text = pc.ascii_lower(text) if case == "lower" else pc.ascii_upper(text)
    return text


def tidy_tensor(text: tf.Tensor, trim: bool, case: Case | None) -> tf.Tensor:
    """The same on `[B] string`."""
    import tensorflow as tf

    if trim:
        text = tf.strings.strip(text)
    if case:
        text = tf.strings.lower(text) if case == "lower" else tf.strings.upper(text)
    return text
