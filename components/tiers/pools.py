"""Worker pools: their form in a spec, and the rules of `tiers.yaml` by which they are legal."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from quatrain.components.errors import TierError
from quatrain.components.tiers.rules import load
from quatrain.components.wording import counted, near


class Pool(BaseModel):
    """One worker pool, in Vertex's words: equal machines that play one role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine_type: Annotated[str, Field(min_length=1)]
    replica_count: Annotated[int, Field(ge=1)] = 1
    accelerator_type: str | None = None
    accelerator_count: Annotated[int, Field(ge=1)] | None = None
    tpu_topology: str | None = None

    def __str__(self) -> str:
        hardware = self.machine_type
        if self.accelerator_type:
            hardware += f" + {self.accelerator_count} {self.accelerator_type}"
        if self.tpu_topology:
            hardware += f" ({self.tpu_topology})"
        return f"{self.replica_count} x {hardware}"


def strategy_of(pools: Sequence[Pool]) -> str:
    """Returns the distribution strategy that the hardware calls for."""
    if any(pool.tpu_topology for pool in pools):
        return "tpu"
    if sum(pool.replica_count for pool in pools) > 1:
        return "multi_worker"
    return "mirrored" if any((pool.accelerator_count or 0) > 1 for pool in pools) else "one_device"


def accelerator_of(pools: Sequence[Pool]) -> str:
    """Returns what the image of the pools must be built for: cpu, cuda or tpu."""
    if any(pool.tpu_topology for pool in pools):
        return "tpu"
    return "cuda" if any(pool.accelerator_type for pool in pools) else "cpu"


def devices_of(pools: Sequence[Pool]) -> int:
    """Returns the number of accelerators that train, or of machines without accelerators."""
    return sum(
        pool.replica_count
        * (
            math.prod(int(side) for side in pool.tpu_topology.split("x"))
            if pool.tpu_topology
            else pool.accelerator_count or 1
        )
        for pool in pools
    )


def check_pools(pools: Sequence[Pool], today: datetime.date) -> None:
    """Checks the roles of the pools and the hardware of each.

    Raises:
        TierError: A rule is broken; the message names it and the nearest legal choice.
    """
    if pools[0].replica_count != 1:
        raise TierError(
            f"train.pools[0] has replica_count {pools[0].replica_count}; pool 0 is the chief and "
            f"has exactly 1 replica: put the other {pools[0].replica_count - 1} into pool 1"
        )
    if len(pools) > 2:
        raise TierError(
            f"train.pools has {counted(len(pools), 'pool')}; pool 2 would hold parameter servers "
            f"and pool 3 an evaluator, which Keras 3 does not have: put all workers into pool 1"
        )
    if any(pool.tpu_topology for pool in pools) and len(pools) > 1:
        raise TierError("a TPU job has one pool with one replica; leave out train.pools[1]")
    for index, pool in enumerate(pools):
        where = f"train.pools[{index}]"
        for end in past_ends(pool, today):
            raise TierError(
                f"{where}: {end['name']} is no longer for training, its support ended on "
                f"{end['date']}; use {end['instead']}"
            )
        _check_machine(pool, where)
    gpus = [(pool.accelerator_type, pool.accelerator_count) for pool in pools]
    if len(set(gpus)) > 1:
        raise TierError(
            f"train.pools are {pools[0]} and {pools[1]}; replicas that train in step have the same "
            f"accelerators: give pool 1 those of pool 0"
        )


def past_ends(pool: Pool, today: datetime.date) -> list[dict[str, Any]]:
    """Returns the ends of support that concern a pool and have passed.

    The successor that each one names is still supported: a K80 gets the L4 and not the T4, whose
    own support has ended.
    """
    past = {e["name"]: e for e in load()["ends"] if e["kind"] in _FIELDS and e["date"] <= today}

    def lasting(name: str) -> str:
        return lasting(past[name]["instead"]) if name in past else name

    used = [getattr(pool, field) for field in _FIELDS.values()]
    return [{**past[name], "instead": lasting(name)} for name in used if name in past]


def successor(pool: Pool, today: datetime.date) -> Pool:
    """Returns the pool with successors for the machines and GPUs whose support has ended.

    Some GPUs come only with machines of their own. The pool then gets the one with the nearest
    number of GPUs, then of vCPUs: n1-standard-8 + 1 NVIDIA_TESLA_T4 becomes g2-standard-8 + 1
    NVIDIA_L4.
    """
    ends = past_ends(pool, today)
    for end in ends:
        pool = pool.model_copy(update={_FIELDS[end["kind"]]: end["instead"]})
    return _on_bundled_machine(pool) if ends else pool


def fitting_count(machine: str, accelerator: str, count: int) -> int:
    """Returns the number of attached GPUs nearest to `count` that a machine takes."""
    rules = load()["attachable"]
    fits: dict[str, list[int]] = next((r["counts"] for r in rules if machine in r["machines"]), {})
    return min(fits.get(accelerator, [count]), key=lambda fitting: abs(fitting - count))


_FIELDS = {"machine": "machine_type", "accelerator": "accelerator_type"}


def _on_bundled_machine(pool: Pool) -> Pool:
    """Returns the pool on the machine that its GPUs come with, if they come with one."""
    rules = load()["bundled"]
    counts = {m: c[pool.accelerator_type] for m, c in rules.items() if pool.accelerator_type in c}
    if not counts or pool.machine_type in counts:
        return pool

    def distance(machine: str) -> tuple[int, int]:
        return (
            abs(counts[machine] - (pool.accelerator_count or 1)),
            abs(_size(machine) - _size(pool.machine_type)),
        )

    machine = min(counts, key=distance)
    return pool.model_copy(update={"machine_type": machine, "accelerator_count": counts[machine]})


def _size(machine: str) -> int:
    """Returns the number at the end of a machine's name: its vCPUs or GPUs."""
    return int("".join(filter(str.isdigit, machine.rpartition("-")[2])) or 0)


def _check_machine(pool: Pool, where: str) -> None:
    """Checks that a machine type exists, and may have the accelerators of its pool."""
    rules, machine = load(), pool.machine_type
    if machine in rules["tpu"]:
        _check_tpu(pool, where, rules["tpu"][machine])
        return
    if pool.tpu_topology:
        raise TierError(
            f"{where}: {machine} has no TPU, so it takes no tpu_topology {pool.tpu_topology!r}; "
            f"leave it out, or choose one of {', '.join(rules['tpu'])}"
        )
    if bool(pool.accelerator_type) != bool(pool.accelerator_count):
        raise TierError(
            f"{where}: accelerator_type {pool.accelerator_type!r} and accelerator_count "
            f"{pool.accelerator_count} go together; give both or neither"
        )
    if machine in rules["bundled"]:
        _check_bundled(pool, where, rules["bundled"][machine])
        return
    plain = [f"{family}-{size}" for family, sizes in rules["machines"].items() for size in sizes]
    if machine not in plain:
        known = [*plain, *rules["bundled"], *rules["tpu"]]
        raise TierError(f"{where}: unknown machine type {machine!r}{near(machine, known)}")
    if pool.accelerator_type:
        _check_attached(pool, where)


def _check_tpu(pool: Pool, where: str, topologies: Sequence[str]) -> None:
    """Checks that a TPU pool has one machine, a topology of its type, and no other accelerator."""
    if pool.accelerator_type or pool.accelerator_count:
        raise TierError(
            f"{where}: {pool.machine_type} is a TPU machine and names a tpu_topology, no "
            f"accelerator; leave out accelerator_type and accelerator_count"
        )
    if pool.tpu_topology not in topologies:
        raise TierError(
            f"{where}: the trainer uses the TPU chips of one machine, and {pool.machine_type} has "
            f"no topology {pool.tpu_topology!r} of its own; choose {' or '.join(topologies)}"
        )
    if pool.replica_count != 1:
        raise TierError(
            f"{where}: a TPU pool has 1 replica, not {pool.replica_count}; "
            f"choose a topology of as many chips"
        )


def _check_bundled(pool: Pool, where: str, bundle: Mapping[str, int]) -> None:
    """Checks that a pool names exactly the GPUs that its machine comes with."""
    ((accelerator, count),) = bundle.items()
    if (pool.accelerator_type, pool.accelerator_count) != (accelerator, count):
        accelerators = f"{pool.accelerator_count} {pool.accelerator_type}"
        but = f", not with {accelerators}" if pool.accelerator_type else ""
        raise TierError(
            f"{where}: {pool.machine_type} comes with {count} {accelerator}{but}; "
            f"set accelerator_type: {accelerator} and accelerator_count: {count}"
        )


def _check_attached(pool: Pool, where: str) -> None:
    """Checks the GPUs that a pool attaches to a machine; the pool has both type and count."""
    accelerator, count = pool.accelerator_type or "", pool.accelerator_count or 0
    rules = load()["attachable"]
    fits = next((rule["counts"] for rule in rules if pool.machine_type in rule["machines"]), None)
    if fits is None:
        raise TierError(
            f"{where}: {pool.machine_type} takes no accelerator; choose an N1 machine, to "
            f"which GPUs attach (n1-standard-8), or one that comes with a GPU (g2-standard-8)"
        )
    if accelerator not in fits:
        raise TierError(
            f"{where}: {pool.machine_type} takes no {accelerator}{near(accelerator, fits)}"
        )
    counts = fits[accelerator]
    if count not in counts:
        nearest = fitting_count(pool.machine_type, accelerator, count)
        raise TierError(
            f"{where}: {pool.machine_type} takes {', '.join(map(str, counts))} "
            f"{accelerator}, not {count}; set {nearest}, the nearest"
        )
