"""Which values of requests are missing, and which the transform has never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from quatrain.trainer.features import Frequency, Vocabulary
from quatrain.trainer.features.categories import text_numpy
from quatrain.trainer.features.transform import Transform


@dataclass(frozen=True)
class KnownValues:
    """The values that the features of a transform tell apart, by input.

    A hash, a cross, a bag and a text have no list of values, so their inputs are absent here.

    Attributes:
        tokens: The values of each input that a vocabulary or a frequency knows.
    """

    tokens: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, transform: Transform) -> KnownValues:
        """Returns those of a transform; an input of two features has the values of both."""
        tokens: dict[str, frozenset[str]] = {}
        for feature in transform.features:
            if type(feature) in (Vocabulary, Frequency):  # a Grid is one, too, of pairs of numbers
                (name,) = feature.columns
                own: Any = feature
                tokens[name] = tokens.get(name, frozenset()) | frozenset(own.tokens or ())
        return cls(tokens)

    def count(
        self, columns: Mapping[str, np.ndarray | pa.Array]
    ) -> tuple[Counter[str], Counter[str]]:
        """Counts the missing and the unseen values of each input.

        Args:
            columns: The raw inputs of `N` rows, by name.

        Returns:
            Missing values by input, and values that the transform has no token for, as they were
            not in the train split or were too rare there; each input that can have some is a key.
        """
        missing, unseen = Counter[str](), Counter[str]()
        for name, column in columns.items():
            tokens = self.tokens.get(name)
            if tokens is None and isinstance(column, np.ndarray):
                missing[name] = int(np.isnan(column).sum())
                continue
            texts = text_numpy(column).to_pylist()
            missing[name] = texts.count("")
            if tokens is not None:
                unseen[name] = sum(text not in tokens for text in texts if text)
        return missing, unseen
