"""Checks a spec against a sample of its rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from quatrain.calls import public
from quatrain.components.errors import SpecError
from quatrain.components.package.publishing import check_trainer
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import tiers
from quatrain.components.times import window_end
from quatrain.components.train.plan import resolve_tier
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import counted
from quatrain.face.data import Data
from quatrain.face.specs import Spec, call_spec, local_path
from quatrain.terminal.console import progress_stream, rows_in_words
from quatrain.terminal.heartbeat import heartbeat
from quatrain.validation import sample
from quatrain.validation.load import Overrides


@dataclass(frozen=True, repr=False)
class CheckedSpec:
    """A spec that is valid and fits a sample of its rows.

    Attributes:
        spec: The spec.
        name: Its name in messages: that of its file, or `spec`.
        tier: The tier's name.
        rows: How many rows the sample has: `read`, of which each split and `rejected` got some.
        warnings: Sentences about oddities that would not stop a run.
        notes: Sentences about what the tier CUSTOM does.
        trained: What a training of one step has shown; empty without one.
    """

    spec: ModelSpec
    name: str
    tier: str
    rows: dict[str, int]
    warnings: list[str]
    notes: list[str]
    trained: str = ""

    def __repr__(self) -> str:
        warnings = [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([self.sampled, *warnings, *self.conclusion()])

    @property
    def sampled(self) -> str:
        """How many rows the sample has, in words."""
        return f"sampled {rows_in_words(self.rows)}"

    def conclusion(self) -> Iterator[str]:
        """Yields the notes, and what the spec is for."""
        yield from (f"train.tier CUSTOM: {note}" for note in self.notes)
        columns = counted(len(self.spec.columns), "column")
        features = counted(len(self.spec.features), "feature")
        yield (
            f"{self.name} is valid and fits a sample of its rows: {columns}, {features}, "
            f"label {self.spec.label} ({self.spec.task}), tier {self.tier}"
        )
        if self.trained:
            yield self.trained

    def as_document(self) -> dict[str, Any]:
        """Returns what `quatrain check --json` prints."""
        return {
            "spec": self.name,
            "name": self.spec.name,
            "label": self.spec.label,
            "task": self.spec.task,
            "columns": list(self.spec.columns),
            "features": [feature.name for feature in self.spec.features],
            "tier": self.tier,
            "sampled": self.rows,
            "notes": self.notes,
            "trained": self.trained,
            "warnings": self.warnings,
        }


@public
def check(
    spec: Spec,
    *,
    data: Data | None = None,
    tier: str = "",
    set: Overrides = (),  # noqa: A002 - as on the command line
    at: str = "",
    cloud: str | os.PathLike[str] | None = None,
    train: bool = False,
    root: str | os.PathLike[str] = DEFAULT_ROOT,
) -> CheckedSpec:
    """Checks a spec against a sample of its rows, without running it.

    Args:
        spec: The path of a spec, what `init` returned, or the sections of a spec as a dict.
        data: A table that replaces the spec's source: a file, a glob, a uri, or a table in memory
            as `init` takes it.
        tier: Replaces the spec's tier, unless empty.
        set: Values that replace those of the spec, as `{"train.epochs": 5}`.
        at: The end of source.window, if not now, such as 2013-07-01.
        cloud: A file of cloud settings, with which to check the run too.
        train: Whether to train a step on a sample, too, as a test of one's own model.py.
        root: The folder of all runs, where a table in memory is kept if the spec fits it.

    Raises:
        SpecError: The spec is wrong or does not fit its rows; the message lists every mistake.
        PackageError: The trainer cannot train, or its model does not answer.
        QuatrainError: The tier, the trainer or the cloud settings are wrong.
    """
    with heartbeat("check", progress_stream()), call_spec(spec, set, data, root) as call:
        checked = _checked(call.spec, call.name, tier, at, cloud, train)
        kept, frame = call.keep(), call.frame
    if frame is None:
        return checked
    warnings = [text.replace(str(frame.partial), str(frame.path)) for text in checked.warnings]
    return replace(checked, spec=kept, warnings=warnings)


def _checked(
    model_spec: ModelSpec,
    name: str,
    tier: str,
    at: str,
    cloud: str | os.PathLike[str] | None,
    train: bool,
) -> CheckedSpec:
    """Checks a spec that is valid; the arguments are those of `check`."""
    resolved = resolve_tier(model_spec, tier)
    warnings = []
    if cloud:
        from quatrain.vertex.checks.run import check_run, local_inputs
        from quatrain.vertex.cloud_file import load_cloud

        warnings += check_run(model_spec, load_cloud(local_path(cloud)), resolved)
        warnings += local_inputs(model_spec)
    trainer = model_spec.train.trainer or ""
    if "://" in trainer:
        warnings.insert(0, f"train.trainer: {trainer} is not checked here")
    else:
        check_trainer(trainer)
    end = window_end(model_spec.source.window, at)
    result = sample.check(model_spec, end)
    if result.problems or result.sample is None:
        raise SpecError("\n".join(f"{name}: {problem}" for problem in result.problems))
    warnings += [*result.warnings, *tiers.warnings(resolved, kinds=tiers.HARDWARE)]
    notes = list(resolved.notes) if resolved.name == "CUSTOM" else []
    trained = ""
    if train:
        from quatrain.validation.training_step import train_step

        print("training a step on a sample of the rows ...", file=progress_stream(), flush=True)
        trained = str(train_step(model_spec, end))
    rows = result.sample.rows
    return CheckedSpec(model_spec, name, resolved.name, rows, warnings, notes, trained)
