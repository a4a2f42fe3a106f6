"""Translates the old service's `config.yaml` into worker pools, with a sentence for each change.

AI Platform Training took `trainingInput: {scaleTier: CUSTOM, masterType: ..., workerCount: ...}`
(https://cloud.google.com/ai-platform/training/docs/reference/rest/v1/projects.jobs#traininginput).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quatrain.components.errors import TierError
from quatrain.components.tiers.pools import Pool, fitting_count, successor
from quatrain.components.tiers.rules import load
from quatrain.components.wording import counted, near

_Count = Annotated[int, Field(ge=0)]


class _LegacyRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AcceleratorConfig(_LegacyRecord):
    """GPUs or TPU cores of one machine."""

    type: str
    count: Annotated[int, Field(ge=1)] = 1


class ReplicaConfig(_LegacyRecord):
    """The settings of a role beside its machine; only the accelerators are translated."""

    accelerator_config: AcceleratorConfig | None = Field(default=None, alias="acceleratorConfig")
    image_uri: str | None = Field(default=None, alias="imageUri")
    tpu_tf_version: str | None = Field(default=None, alias="tpuTfVersion")
    container_command: Any = Field(default=None, alias="containerCommand")
    container_args: Any = Field(default=None, alias="containerArgs")
    disk_config: Any = Field(default=None, alias="diskConfig")


class OldTuning(_LegacyRecord):
    """The tuning of the old service; a spec's `train.tune` takes its place."""

    goal: str | None = None
    params: Any = None
    max_trials: _Count | None = Field(default=None, alias="maxTrials")
    max_parallel_trials: _Count | None = Field(default=None, alias="maxParallelTrials")
    max_failed_trials: _Count | None = Field(default=None, alias="maxFailedTrials")
    metric_tag: str | None = Field(default=None, alias="hyperparameterMetricTag")
    resume_previous_job_id: str | None = Field(default=None, alias="resumePreviousJobId")
    enable_trial_early_stopping: bool | None = Field(default=None, alias="enableTrialEarlyStopping")
    algorithm: str | None = None

    def __str__(self) -> str:
        """Returns the `train.tune` with as many trials."""
        counts = {"trials": self.max_trials, "parallel": self.max_parallel_trials}
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        return f"{{{listed}}}" if listed else "auto"


class TrainingInput(_LegacyRecord):
    """The machines of a job of the old service; other keys must be ones that the service knew."""

    model_config = ConfigDict(extra="allow")

    scale_tier: str | None = Field(default=None, alias="scaleTier")
    master_type: str = Field(default="", alias="masterType")
    master_config: ReplicaConfig = Field(default=ReplicaConfig(), alias="masterConfig")
    worker_type: str = Field(default="", alias="workerType")
    worker_count: _Count = Field(default=0, alias="workerCount")
    worker_config: ReplicaConfig = Field(default=ReplicaConfig(), alias="workerConfig")
    parameter_server_type: str = Field(default="", alias="parameterServerType")
    parameter_server_count: _Count = Field(default=0, alias="parameterServerCount")
    parameter_server_config: ReplicaConfig = Field(
        default=ReplicaConfig(), alias="parameterServerConfig"
    )
    evaluator_type: str = Field(default="", alias="evaluatorType")
    evaluator_count: _Count = Field(default=0, alias="evaluatorCount")
    evaluator_config: ReplicaConfig = Field(default=ReplicaConfig(), alias="evaluatorConfig")
    hyperparameters: OldTuning | None = None

    @model_validator(mode="after")
    def _check_rest(self) -> TrainingInput:
        known = load()["old_keys"]
        for key in self.rest:
            if key in _keys(OldTuning):
                raise ValueError(f"{key} must stand below hyperparameters")
            if key in _keys(ReplicaConfig):
                raise ValueError(f"{key} must stand below masterConfig or workerConfig")
            if key not in known:
                raise ValueError(f"unknown key {key!r}{near(key, [*_keys(TrainingInput), *known])}")
        if self.scale_tier is None and not self.master_type:
            raise ValueError(f"no machines in it: leave out train.config{self.tuning_elsewhere}")
        if self.scale_tier is None:
            raise ValueError("scaleTier is missing; write scaleTier: CUSTOM beside masterType")
        if self.scale_tier not in load()["tiers"]:
            raise ValueError(
                f"unknown scaleTier {self.scale_tier!r}"
                f"{near(self.scale_tier.upper(), load()['tiers'])}"
            )
        return self

    @property
    def tuning_elsewhere(self) -> str:
        """The end of a sentence that says where the tuning stands today; empty without one."""
        return "; its hyperparameters are train.tune now" if self.hyperparameters else ""

    @property
    def rest(self) -> tuple[str, ...]:
        """The names of the keys that do not concern machines."""
        return tuple(self.model_extra or ())


def _keys(record: type[_LegacyRecord]) -> list[str]:
    """Returns the keys of a record, as the old service wrote them."""
    return [field.alias or name for name, field in record.model_fields.items()]


class OldConfig(_LegacyRecord):
    """A whole `config.yaml` of the old service; its job's name and labels are not used."""

    training_input: TrainingInput = Field(alias="trainingInput")
    labels: Any = None
    job_id: Any = Field(default=None, alias="jobId")

    @model_validator(mode="before")
    @classmethod
    def _check_places(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"write the content of the file here, not its name {value!r}")
        of_input = [*_keys(TrainingInput), *load()["old_keys"]]
        if isinstance(value, Mapping) and (misplaced := [k for k in value if k in of_input]):
            stand = "stands" if len(misplaced) == 1 else "stand"
            raise ValueError(
                f"{', '.join(misplaced)} {stand} below trainingInput: write "
                f"config: {{trainingInput: {{{misplaced[0]}: ...}}}}"
            )
        return value


class Translation(NamedTuple):
    """Today's pools, and a sentence for each difference from the file."""

    pools: tuple[Pool, ...]
    sentences: tuple[str, ...]


def translate(config: OldConfig, today: datetime.date) -> Translation:
    """Returns the pools that replace the old machines.

    Args:
        config: The old file.
        today: The date that decides which machines are still supported.

    Raises:
        TierError: The file is for another scale tier, lacks its master, or asks for a TPU pod.
    """
    old = config.training_input
    if old.scale_tier != "CUSTOM":
        raise TierError(
            f"train.config has scaleTier {old.scale_tier}; only CUSTOM takes machines from it: "
            f"set train.tier to {old.scale_tier} and leave out train.config{old.tuning_elsewhere}"
        )
    if not old.master_type:
        raise TierError("train.config has no masterType, which scaleTier CUSTOM needs")
    if old.worker_count and not old.worker_type:
        raise TierError(f"train.config has workerCount {old.worker_count}, but needs a workerType")
    now = load()["old_keys"]
    sentences = [f"{key} of train.config is not used; {now[key]} says it now" for key in old.rest]
    sentences += _omissions(old)
    tpu = _tpu_of(old)
    if tpu:
        return Translation((tpu,), (*sentences, f"the TPU and its {old.master_type} are {tpu}"))
    pools = [_pool("masterType", old.master_type, 1, old.master_config, today, sentences)]
    if old.worker_count:
        worker = old.worker_type, old.worker_count, old.worker_config
        pools.append(_pool("workerType", *worker, today, sentences))
    return Translation(tuple(pools), tuple(sentences))


def _omissions(old: TrainingInput) -> list[str]:
    """Returns a sentence for each part of the old job that has no counterpart today."""
    sentences = []
    if old.parameter_server_count:
        machine = old.parameter_server_type or "without a type"
        sentences.append(
            f"{counted(old.parameter_server_count, 'parameter server')} {machine} cannot be used: "
            f"Keras 3 has none, the replicas sum their gradients in step"
        )
    if old.evaluator_count:
        sentences.append(
            f"{old.evaluator_count} evaluator {old.evaluator_type} is left out: the chief "
            f"validates after each epoch, and the evaluate step tests"
        )
    configs = (old.master_config, old.worker_config)
    if any(config.image_uri for config in configs):
        sentences.append(
            "imageUri of train.config is not used: every replica runs Quatrain's image"
        )
    return sentences


def _tpu_of(old: TrainingInput) -> Pool | None:
    """Returns the TPU machine that replaces a TPU worker, or None."""
    rule = load()["old_tpus"]
    accelerator = old.worker_config.accelerator_config or old.master_config.accelerator_config
    is_tpu = accelerator is not None and accelerator.type in rule["types"]
    if old.worker_type != "cloud_tpu" and not is_tpu:
        return None
    cores = accelerator.count if accelerator else rule["cores"]
    if cores != rule["cores"] or old.worker_count > 1:
        raise TierError(
            f"train.config asks for {old.worker_count} worker with {cores} TPU cores; only one "
            f"with {rule['cores']} is translated: give train.pools with a tpu_topology"
        )
    return Pool(**rule["pool"])


def _pool(
    role: str,
    machine: str,
    count: int,
    config: ReplicaConfig,
    today: datetime.date,
    sentences: list[str],
) -> Pool:
    """Returns a pool of today's machines, and adds a sentence if it differs from the file's."""
    old = load()["old_machines"]
    known = [*old, *(f"{f}-{size}" for f, sizes in load()["machines"].items() for size in sizes)]
    if machine not in old and "-" not in machine:
        raise TierError(f"train.config: unknown {role} {machine!r}{near(machine, known)}")
    hardware = dict(old.get(machine, {"machine_type": machine}))
    if accelerators := config.accelerator_config:
        hardware |= {
            "accelerator_type": accelerators.type,
            "accelerator_count": accelerators.count,
        }
    before = Pool(**hardware, replica_count=count)
    pool = successor(before, today)
    if pool.accelerator_type:
        fits = fitting_count(pool.machine_type, pool.accelerator_type, pool.accelerator_count or 1)
        pool = pool.model_copy(update={"accelerator_count": fits})
    if pool != before:
        sentences.append(f"{role}: {before} is no longer for training, so {pool} takes its place")
    elif machine in old:
        sentences.append(f"{role}: {machine} was the name of {pool}")
    return pool
