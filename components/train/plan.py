"""Plans the training job: its worker pools, and the arguments of the trainer on each replica."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import replace
from typing import Any, NamedTuple

from quatrain.components.errors import TierError
from quatrain.components.folder import read_manifest
from quatrain.components.quick_run import is_quick
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import ModelSpec, Train
from quatrain.components.specification.search_space import study_parameters
from quatrain.components.tiers import tiers
from quatrain.trainer.settings import Hyperparameters

COMMAND = ("python", "-P", "-m", "quatrain.components.train.bootstrap")
QUICK_TIER, QUICK_EPOCHS, QUICK_ROUNDS = "BASIC", 3, 50
"""How a quick run trains, without tuning; fewer epochs or rounds of the spec count."""
MIN_STEPS = 100
"""The fewest steps of an epoch whose batch grows; with fewer, an epoch learns little."""


class Plan(NamedTuple):
    """The inputs of CustomTrainingJobOp, and of HyperparameterTuningJobRunOp if `trials` > 0."""

    worker_pool_specs: list[dict[str, Any]]
    base_output_directory: str
    strategy: str
    timeout: str
    restart_job_on_worker_restart: bool
    max_wait_duration: str
    trials: int
    parallel_trials: int
    failed_trials: int
    study_metrics: list[dict[str, Any]]
    study_parameters: list[dict[str, Any]]
    tuning_directory: str
    pools: str


def plan(
    spec: str,
    package: str,
    examples: str,
    model_uri: str,
    tier: str,
    image: str,
) -> Plan:
    """Resolves the tier and writes the command of every replica.

    Args:
        spec: The pipeline's parameter.
        package: The artifact of the package step, a path or gs:// uri.
        examples: The artifact of the preprocess step, a path or gs:// uri.
        model_uri: The job's base output directory; the model goes to `model/` below it.
        tier: Replaces the spec's tier, unless empty.
        image: The image that runs the bootstrap.

    Raises:
        TierError: The tier is unknown, or Vertex would refuse its pools.
        ArtifactError: There is no complete package, or no complete examples.
    """
    model_spec = read_parameter(spec)
    published = read_manifest(package, "package.json", step="package")
    manifest = read_manifest(examples, "manifest.json", step="preprocess")
    rows, train = manifest["rows"], model_spec.train
    if quick := is_quick(manifest):
        train = quick_train(train)
    chosen = resolve_tier(model_spec, QUICK_TIER if quick else tier)
    settings = scaled(chosen.batch_rule, train.settings, chosen.devices, rows["train"])
    arguments = ["--package", f"{package}/{published['file']}"]
    arguments += ["--sha256", published["sha256"], "--"]
    arguments += trainer_arguments(settings, examples, chosen)
    _print_plan(chosen, train.settings, settings)
    container = {"image_uri": image, "command": list(COMMAND), "args": arguments}
    pools = chosen.worker_pools(container)
    return Plan(
        pools,
        model_uri,
        **chosen.job_scheduling(settings.max_seconds)._asdict(),
        **_study(train, rows["train"]),
        tuning_directory=f"{model_uri}/tuning",
        pools=json.dumps(pools),
    )


def quick_train(train: Train) -> Train:
    """Returns how a quick run trains: a few epochs or rounds, without tuning, bags or refit."""
    settings = train.settings
    epochs = min(settings.epochs or QUICK_EPOCHS, QUICK_EPOCHS)
    rounds = min(settings.rounds, QUICK_ROUNDS)
    print(f"plan: quick run: tier {QUICK_TIER}, {epochs} epochs or {rounds} rounds at most")
    limited = replace(settings, epochs=epochs, rounds=rounds, quality="standard", refit="never")
    return train.model_copy(update={"settings": limited, "tune": None})


def _study(train: Train, rows: int) -> dict[str, Any]:
    """Returns the plan's fields about the trials."""
    tune = train.tune
    if tune is None:
        return {**_NO_STUDY, "study_metrics": [], "study_parameters": []}
    parameters = study_parameters(tune.searches, rows, train.settings.model)
    names = ", ".join(parameter["parameter_id"] for parameter in parameters)
    print(f"plan: tuning {names} in {tune.trials} trials, {tune.parallel} at once")
    return {
        "trials": tune.trials,
        "parallel_trials": min(tune.parallel, tune.trials),
        "failed_trials": -(-tune.trials // 2),  # the study fails once half of its trials have
        "study_metrics": [{"metric_id": tune.metric, "goal": tune.goal.upper()}],
        "study_parameters": parameters,
    }


_NO_STUDY = {"trials": 0, "parallel_trials": 0, "failed_trials": 0}


def _print_plan(
    tier: tiers.Tier, spec_settings: Hyperparameters, settings: Hyperparameters
) -> None:
    """Prints the tier with its warnings, and the settings that its batch rule has changed."""
    for warning in tiers.warnings(tier, kinds=tiers.HARDWARE):
        print(f"plan: warning: {warning}")
    if tier.name == "CUSTOM":
        for note in tier.notes:
            print(f"plan: {note}")
    pools = ", ".join(map(str, tier.pools))
    print(f"plan: tier {tier.name}, {tier.scheduling}, strategy {tier.strategy}: {pools}")
    if settings != spec_settings:
        print(
            f"plan: batch rule {tier.batch_rule} of {tier.devices} accelerators: batch_size is "
            f"{settings.batch_size}, learning_rate {settings.learning_rate:g}"
        )


def scaled(rule: str, settings: Hyperparameters, devices: int, train_rows: int) -> Hyperparameters:
    """Returns the settings with the global batch and the learning rate of a tier.

    `constant` changes nothing. `square_root` multiplies the batch by the largest power of two that
    is at most the number of accelerators and leaves MIN_STEPS in an epoch, and the learning rate
    by its square root: the noise of an adaptive method then stays the same (Malladi, Lyu, Panigrahi
    & Arora 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms"). Epochs and
    patience stay those of the unscaled batch.

    Args:
        rule: constant or square_root.
        settings: The settings of the spec.
        devices: The number of accelerators of all replicas.
        train_rows: The number of rows of the train split.
    """
    settled = settings.settled(train_rows)
    fits = min(devices, train_rows // (MIN_STEPS * settled.batch_size))
    if rule == "constant" or fits < 2:
        return settings
    times = 1 << (fits.bit_length() - 1)
    return replace(
        settled,
        batch_size=settled.batch_size * times,
        learning_rate=settled.learning_rate * math.sqrt(times),
    )


def resolve_tier(spec: ModelSpec, tier: str = "", today: datetime.date | None = None) -> tiers.Tier:
    """Returns the tier of a run: `tier` if it is not empty, else the spec's.

    The spec's `replicas` also shortens another tier of several machines, and its scheduling and
    batch rule hold for any tier; its pools belong to CUSTOM alone.

    Args:
        spec: The spec of the run.
        tier: Replaces the spec's tier, unless empty.
        today: The date that decides which hardware is still supported; by default today.

    Raises:
        TierError: The tier is unknown, Vertex would refuse its pools, or it has several machines
            for a model of quality high.
    """
    own = spec.train
    name = tier or own.tier
    is_own = name in (own.tier, "CUSTOM")
    resolved = tiers.resolve(
        name,
        replicas=own.replicas if is_own or tiers.describe(name, today).replicas > 1 else None,
        pools=own.pools if is_own else None,
        config=own.config if is_own else None,
        scheduling=own.scheduling,
        batch_rule=own.batch_rule,
        today=today,
    )
    if own.settings.quality == "high" and resolved.replicas > 1:
        raise TierError(
            f"train.quality high trains on one machine, and tier {name} has {resolved.replicas}; "
            "choose a tier of one machine, such as BASIC, or leave out train.quality"
        )
    return resolved


def trainer_arguments(settings: Hyperparameters, examples_uri: str, tier: tiers.Tier) -> list[str]:
    """Returns the arguments of `trainer.task`, all of them strings as Vertex requires.

    The settings are one argument. A tuning appends arguments for single settings, which override
    it.
    """
    arguments = ["--examples", examples_uri, "--strategy", tier.strategy, "--tier", tier.name]
    arguments += ["--gpus", str(tier.gpus)]
    if tier.tpus:  # not a 0, which an older trainer of the user's own would refuse
        arguments += ["--tpus", str(tier.tpus)]
    return [*arguments, "--settings", settings.as_json()]
