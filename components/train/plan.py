"""Plans the training job: worker pools, and the arguments that each replica's trainer gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from components.artifacts import read_manifest
from components.spec.reading import read_parameter
from components.spec.schema import ModelSpec
from components.train import tiers

COMMAND = ("python", "-m", "components.train.bootstrap")


class Plan(NamedTuple):
    """What CustomTrainingJobOp takes."""

    worker_pool_specs: list[dict[str, Any]]
    base_output_directory: str


def plan(
    spec: Mapping[str, Any],
    package_uri: str,
    package_path: str,
    examples_uri: str,
    model_uri: str,
    tier: str,
    image: str,
) -> Plan:
    """Resolves the tier and writes the command of every replica.

    Args:
        spec: The model spec, as the pipeline parameter has it.
        package_uri: The package artifact, as the replicas reach it.
        package_path: The same, as this process reads it.
        examples_uri: The examples artifact.
        model_uri: The job's base output directory; the model goes to `model/` below it.
        tier: Takes the place of the spec's tier, unless empty.
        image: The image that runs the bootstrap.

    Raises:
        TierError: The tier is unknown, or Vertex would refuse its pools.
        ArtifactError: There is no complete package.
    """
    model_spec = read_parameter(spec)
    chosen = resolve_tier(model_spec, tier)
    published = read_manifest(package_path, "package.json", made_by="package")
    arguments = ["--package", f"{package_uri}/{published['file']}"]
    arguments += ["--sha256", published["sha256"], "--"]
    arguments += trainer_arguments(model_spec, examples_uri, chosen)
    for warning in tiers.warnings(chosen, kinds=tiers.HARDWARE):
        print(f"plan: warning: {warning}")
    pools = ", ".join(map(str, chosen.pools))
    print(f"plan: tier {chosen.name}, strategy {chosen.strategy}: {pools}")
    container = {"image_uri": image, "command": list(COMMAND), "args": arguments}
    return Plan(chosen.worker_pools(container), model_uri)


def resolve_tier(spec: ModelSpec, tier: str = "") -> tiers.Tier:
    """Returns the tier of a run: `tier` if it is not empty, else the spec's.

    The spec's replicas also cut another tier of several machines; its pools belong to CUSTOM.

    Raises:
        TierError: The tier is unknown, or Vertex would refuse its pools.
    """
    own = spec.train
    if not tier or tier == own.tier:
        return tiers.resolve(own.tier, replicas=own.replicas, pools=own.pools)
    if tier == "CUSTOM":
        return tiers.resolve(tier, replicas=own.replicas, pools=own.pools)
    several = tiers.describe(tier).replicas > 1
    return tiers.resolve(tier, replicas=own.replicas if several else None)


def trainer_arguments(spec: ModelSpec, examples_uri: str, tier: tiers.Tier) -> list[str]:
    """Returns the arguments of `trainer.task`, all of them strings as Vertex wants them."""
    arguments = ["--examples", examples_uri, "--strategy", tier.strategy, "--tier", tier.name]
    for name, value in asdict(spec.train.settings).items():
        arguments += [f"--{name.replace('_', '-')}", _as_text(value)]
    return arguments


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
