"""How a column is written as text, and how text is tidied before it is used.

`tidy_numpy` and `tidy_tensor` are one function in two forms: the first runs where rows are cleaned,
the second inside the exported model. Both fold ASCII letters only, since Arrow and TensorFlow
disagree on others (the lower case of the Turkish dotted I is one letter in Arrow, two in
TensorFlow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import tensorflow as tf

Case = Literal["lower", "upper"]
EpochUnit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class Spelling:
    """How the values of a column are written, where that is not the default.

    Attributes:
        format: The strptime format of a time or date, such as %d/%m/%Y %H:%M.
        epoch: The unit of a time that is written as a whole number since 1970 UTC.
        true_values: The texts that mean true; empty: the default ones, for both.
        false_values: The texts that mean false.
        decimal: What stands before the fraction of a number; None: a comma if `thousands` is a dot,
            else a dot.
        thousands: What may stand between the thousands of a number; None: nothing.
        unit: The texts that may stand before or after a number.
    """

    format: str | None = None
    epoch: EpochUnit | None = None
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    decimal: str | None = None
    thousands: str | None = None
    unit: tuple[str, ...] = ()

    @property
    def is_of_numbers(self) -> bool:
        """Whether it says how numbers are written."""
        return bool(self.decimal or self.thousands or self.unit)


def tidy_numpy(text: pa.Array, trim: bool, case: Case | None) -> pa.Array:
    r"""Returns text `[N]` without blanks around it (space, \t, \n, \v, \f, \r), A-Z folded.

    Args:
        text: `[N]` strings.
        trim: Whether to cut off the blanks.
        case: The case of the ASCII letters; None: as they are.
    """
    if trim:
        text = pc.ascii_trim_whitespace(text)
    if case:
        text = pc.ascii_lower(text) if case == "lower" else pc.ascii_upper(text)
    return text


def tidy_tensor(text: tf.Tensor, trim: bool, case: Case | None) -> tf.Tensor:
    """Does the same with a tensor of `[B] string`."""
    import tensorflow as tf

    if trim:
        text = tf.strings.strip(text)
    if case:
        text = tf.strings.lower(text) if case == "lower" else tf.strings.upper(text)
    return text
