"""What every worker of the preprocess step knows: the spec, its rules and where to write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quatrain.components.preprocess.cleaning import Rules
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.specification.schema import ModelSpec
from quatrain.trainer.features.base import Input

ERROR = "error.json"
PENDING = "manifest.json"
"""The manifest, until the step has checked that its source did not change during the run."""


@dataclass(frozen=True)
class PreprocessJob:
    """A run of the preprocess step, as every worker knows it.

    Attributes:
        spec: The model's spec.
        rules: Its cleaning rules; the driver has worked out the types of the derived columns.
        folder: Where this attempt writes.
        n_shards: The number of ranges, and so of shards of each split.
        window: The source's window for the manifest, if it has one.
        warnings: What is known of the source before its rows are read.
        sample: The section `sample` of the manifest, if only a sample of the rows is read.
    """

    spec: ModelSpec
    rules: Rules
    folder: Folder
    n_shards: int
    window: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    sample: dict[str, Any] | None = None

    @cached_property
    def counted_columns(self) -> tuple[Input, ...]:
        """The columns that have statistics: inputs of features, label, weight and slices."""
        spec = self.spec
        types: dict[str, Any] = {**spec.columns, **self.rules.derived}
        names = {i.name for i in spec.inputs} | {spec.label, *spec.evaluate.slices}
        if spec.weight is not None:
            names.add(spec.weight)
        return tuple(Input(name, type_) for name, type_ in types.items() if name in names)

    @cached_property
    def sampled_columns(self) -> frozenset[str]:
        """The text columns that nothing is fitted to: a sample of their values is enough."""
        spec = self.spec
        in_full = {spec.label, spec.weight, *spec.evaluate.slices}
        in_full |= {name for f in spec.features for name in f.needs}
        return frozenset(i.name for i in spec.inputs if not i.is_number) - in_full

    @property
    def counted_names(self) -> list[str]:
        """The names of the columns that have statistics."""
        return [c.name for c in self.counted_columns]

    @cached_property
    def key_columns(self) -> tuple[Input, ...]:
        """The columns that identify a row and have no statistics."""
        columns = self.spec.columns
        names = [name for name in self.spec.row_keys if name not in self.counted_names]
        return tuple(Input(name, columns[name]) for name in names)

    @property
    def spilled_names(self) -> list[str]:
        """The names of the columns that the second pass needs."""
        return [*self.counted_names, *(c.name for c in self.key_columns)]

    @cached_property
    def raw_columns(self) -> tuple[str, ...]:
        """The columns that validation and test shards hold as read: inputs, slices and keys."""
        names = {i.name for i in self.spec.inputs} | set(self.spec.evaluate.slices)
        names |= set(self.spec.row_keys)
        columns = (*self.counted_columns, *self.key_columns)
        return tuple(c.name for c in columns if c.name in names)

    def shard(self, stem: str, index: int) -> str:
        """Returns a shard's path in the artifact, for example train-00000-of-00004.parquet."""
        return f"{stem}-{index:05d}-of-{self.n_shards:05d}.parquet"

    def spill(self, index: int) -> str:
        """Returns the scratch file of a range's cleaned rows, which wait for the second pass."""
        return f"{index:05d}.arrow"


def rules_of(spec: ModelSpec) -> Rules:
    """Returns the cleaning rules of a spec."""
    clean, tidied = spec.clean, {n: c for n, c in spec.declared.items() if c.trim or c.case}
    return Rules(spec.columns, clean.reject, clean.derive, spec.label, spec.weight, tidied)
