"""Resolves a tier into legal worker pools, by the data and rules of `tiers.yaml`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quatrain.components.errors import TierError
from quatrain.components.tiers.legacy_config import OldConfig, translate
from quatrain.components.tiers.pools import (
    Pool,
    accelerator_of,
    check_pools,
    devices_of,
    past_ends,
    strategy_of,
    successor,
)
from quatrain.components.tiers.rules import load
from quatrain.components.tiers.scheduling import Scheduling, check_scheduling, scheduling_of
from quatrain.components.wording import near

NOTICE = datetime.timedelta(days=183)
"""How long before an end of support a warning appears."""

HARDWARE = ("machine", "accelerator")
EVERYTHING = (*HARDWARE, "image")
"""The kinds of things whose support ends."""


@dataclass(frozen=True)
class Tier:
    """A tier as it is today.

    Attributes:
        name: The tier's name.
        summary: A description of a few words.
        was: The machines that the tier had in the old service; empty for a newer tier.
        price_usd_h: The price of those machines in USD an hour.
        strategy: one_device, mirrored, multi_worker or tpu.
        pools: Pool 0 is the chief, pool 1 (if any) the workers.
        scheduling: STANDARD, SPOT or FLEX_START, as Vertex calls it.
        batch_rule: The rule by which batch and learning rate grow with the accelerators.
        notes: What changed and why; for CUSTOM, what the translation of an old file changed.
        moved: Sentences about pools of `tiers.yaml` whose support has ended, and the machines that
            replace them in `pools`.
    """

    name: str
    summary: str
    was: str
    price_usd_h: float | None
    strategy: str
    pools: tuple[Pool, ...]
    scheduling: str
    batch_rule: str
    notes: tuple[str, ...]
    moved: tuple[str, ...] = ()

    @property
    def replicas(self) -> int:
        """The number of machines."""
        return sum(pool.replica_count for pool in self.pools)

    @property
    def devices(self) -> int:
        """The number of accelerators, or of machines where there are no accelerators."""
        return devices_of(self.pools)

    @property
    def accelerator(self) -> str:
        """What the image of its replicas must be built for: cpu, cuda or tpu."""
        return accelerator_of(self.pools)

    @property
    def gpus(self) -> int:
        """The number of GPUs of one machine; 0 without GPUs."""
        return max((pool.accelerator_count or 0 for pool in self.pools), default=0)

    @property
    def tpus(self) -> int:
        """The number of TPU cores of one machine; a chip of v5e or v6e has one."""
        return self.devices if self.strategy == "tpu" else 0

    def job_scheduling(self, max_seconds: float = 0.0) -> Scheduling:
        """Returns the settings for Vertex's scheduler of a job that trains for `max_seconds`."""
        return scheduling_of(self.scheduling, self.pools, max_seconds)

    def worker_pools(self, container_spec: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the `worker_pool_specs` of a CustomJob that runs one container everywhere."""
        return [
            {
                "machine_spec": pool.model_dump(exclude={"replica_count"}, exclude_none=True),
                "replica_count": pool.replica_count,
                "container_spec": dict(container_spec),
            }
            for pool in self.pools
        ]


def names() -> list[str]:
    """Returns the tiers' names in the order of the file."""
    return list(load()["tiers"])


def resolve(
    name: str,
    replicas: int | None = None,
    pools: Sequence[Pool] | None = None,
    config: OldConfig | None = None,
    scheduling: str | None = None,
    batch_rule: str | None = None,
    today: datetime.date | None = None,
) -> Tier:
    """Returns a tier whose pools Vertex would accept today.

    Args:
        name: A name of `tiers.yaml`.
        replicas: Shortens a tier of several machines to this number, the chief included.
        pools: CUSTOM's worker pools, from the spec's `train.pools`.
        config: CUSTOM's file of the old service, from the spec's `train.config`.
        scheduling: Replaces the tier's scheduling.
        batch_rule: Replaces the tier's batch rule.
        today: The date that decides what is still supported; by default today.

    Raises:
        TierError: The tier is unknown, or Vertex would refuse the combination.
    """
    day = today or datetime.date.today()
    tier = describe(name, day)
    if name == "CUSTOM":
        own, notes = _own_pools(pools, config, day)
        tier = replace(tier, pools=own, notes=notes)
    elif pools or config:
        if config and config.training_input.scale_tier == name:
            raise TierError(
                f"train.config adds nothing to tier {name}: leave it out"
                f"{config.training_input.tuning_elsewhere}"
            )
        key = "train.pools" if pools else "train.config"
        raise TierError(
            f"{key} has machines, but tier {name} brings its own; "
            f"set train.tier to CUSTOM or leave out {key}"
        )
    tier = replace(
        _cut(tier, replicas),
        scheduling=scheduling or tier.scheduling,
        batch_rule=batch_rule or tier.batch_rule,
    )
    check_pools(tier.pools, day)
    check_scheduling(tier.scheduling, tier.pools)
    return replace(tier, strategy=strategy_of(tier.pools))


def describe(name: str, today: datetime.date | None = None) -> Tier:
    """Returns a tier by its name alone, unchecked; CUSTOM then has no pools.

    Hardware whose support has ended is replaced by the successor that `tiers.yaml` names.

    Args:
        name: A name of `tiers.yaml`.
        today: The date that decides what is still supported; by default today.

    Raises:
        TierError: No tier has this name.
    """
    tier, day = _tier(name), today or datetime.date.today()
    pools = tuple(successor(pool, day) for pool in tier.pools)
    moved = dict.fromkeys(
        f"support of {end['name']} ended on {end['date']}; tier {name} has {new} in the place of "
        f"{old}"
        for old, new in zip(tier.pools, pools, strict=True)
        for end in past_ends(old, day)
    )
    return replace(tier, pools=pools, moved=tuple(moved))


def warnings(
    tier: Tier, today: datetime.date | None = None, kinds: Sequence[str] = EVERYTHING
) -> list[str]:
    """Returns sentences about support that has ended or ends soon, and about replaced hardware.

    Args:
        tier: The tier. Warnings concern its hardware, and the images that every tier uses.
        today: The date that decides what is still supported; by default today.
        kinds: The kinds of things to warn of.
    """
    day = today or datetime.date.today()
    used = {pool.machine_type for pool in tier.pools} | {p.accelerator_type for p in tier.pools}
    sentences = list(tier.moved)
    for end in load()["ends"]:
        concerned = end["kind"] == "image" or end["name"] in used
        if end["kind"] in kinds and concerned and end["date"] - NOTICE <= day:
            verb = "ended" if end["date"] <= day else "ends"
            sentences.append(
                f"support of {end['name']} {verb} on {end['date']}; use {end['instead']}"
            )
    return sentences


def _tier(name: str) -> Tier:
    """Returns a tier as `tiers.yaml` lists it, even if support of its hardware has ended."""
    tiers = load()["tiers"]
    if name not in tiers:
        raise TierError(f"unknown tier {name!r}{near(name.upper(), tiers)}")
    data = tiers[name]
    was = data["was"] or {"machines": "", "price_usd_h": None}
    return Tier(
        name=name,
        summary=data["summary"],
        was=was["machines"],
        price_usd_h=was["price_usd_h"],
        strategy=data["strategy"] or "from the pools",
        pools=tuple(Pool(**pool) for pool in data["pools"]),
        scheduling=data["scheduling"],
        batch_rule=data["batch_rule"],
        notes=tuple(data["notes"]),
    )


def _own_pools(
    pools: Sequence[Pool] | None, config: OldConfig | None, today: datetime.date
) -> tuple[tuple[Pool, ...], tuple[str, ...]]:
    """Returns CUSTOM's pools, and sentences about what the translation of an old file changed."""
    if pools and config:
        raise TierError("tier CUSTOM has train.pools and train.config; leave one of them out")
    if config:
        return translate(config, today)
    if not pools:
        raise TierError(
            "tier CUSTOM needs train.pools; for example\n"
            "  pools: [{machine_type: n1-standard-8, replica_count: 1}]\n"
            "or the old service's file as train.config: {trainingInput: ...}"
        )
    return tuple(pools), ()


def _cut(tier: Tier, replicas: int | None) -> Tier:
    """Returns a tier with fewer workers, so that it has `replicas` machines in all."""
    if replicas is None or replicas == tier.replicas:
        return tier
    if not 1 <= replicas <= tier.replicas:
        raise TierError(
            f"train.replicas is {replicas}, but {tier.name} has {tier.replicas} machines and "
            f"replicas only cuts them; choose 1 to {tier.replicas}, or tier CUSTOM with your pools"
        )
    workers = [pool.model_copy(update={"replica_count": replicas - 1}) for pool in tier.pools[1:]]
    return replace(tier, pools=(tier.pools[0], *(p for p in workers if p.replica_count)))
