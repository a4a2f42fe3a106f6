"""Reads worker pools and checks them by the rules of `tiers.yaml`."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import TierError
from components.wording import near

_KEYS = ("machine_type", "replica_count", "accelerator_type", "accelerator_count", "tpu_topology")


@dataclass(frozen=True)
class Pool:
    """One worker pool: equal machines that play one role."""

    machine_type: str
    replica_count: int
    accelerator_type: str = ""
    accelerator_count: int = 0
    tpu_topology: str = ""

    def payload(self, container_spec: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the pool as Vertex's CustomJob takes it, running a container."""
        machine: dict[str, Any] = {"machine_type": self.machine_type}
        if self.accelerator_type:
            machine["accelerator_type"] = self.accelerator_type
            machine["accelerator_count"] = self.accelerator_count
        if self.tpu_topology:
            machine["tpu_topology"] = self.tpu_topology
        return {
            "machine_spec": machine,
            "replica_count": self.replica_count,
            "container_spec": dict(container_spec),
        }

    def __str__(self) -> str:
        hardware = self.machine_type
        if self.accelerator_type:
            hardware += f" + {self.accelerator_count} {self.accelerator_type}"
        if self.tpu_topology:
            hardware += f" ({self.tpu_topology})"
        return f"{self.replica_count} x {hardware}"


@functools.cache
def load() -> dict[str, Any]:
    """Returns the data of `tiers.yaml`."""
    import yaml

    path = Path(__file__).with_name("tiers.yaml")
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def strategy_of(pools: Sequence[Pool]) -> str:
    """Returns the distribution strategy that the hardware calls for."""
    if any(pool.tpu_topology for pool in pools):
        return "tpu"
    if sum(pool.replica_count for pool in pools) > 1:
        return "multi_worker"
    return "mirrored" if any(pool.accelerator_count > 1 for pool in pools) else "one_device"


def read_pools(pools: Sequence[Mapping[str, Any]] | None) -> tuple[Pool, ...]:
    """Reads worker pools as the spec's `train.pools` has them.

    Raises:
        TierError: No pools, a hole between them, or an unknown key.
    """
    if not pools:
        raise TierError(
            "tier CUSTOM needs train.pools; for example\n"
            "  pools: [{machine_type: n1-standard-8, replica_count: 1}]"
        )
    return tuple(read_pool(pool, f"train.pools[{index}]") for index, pool in enumerate(pools))


def check_pools(pools: Sequence[Pool], today: datetime.date) -> None:
    """Checks the roles of the pools and the hardware of each.

    Raises:
        TierError: Names the rule that is broken and the nearest legal choice.
    """
    if pools[0].replica_count != 1:
        raise TierError(
            f"train.pools[0] has replica_count {pools[0].replica_count}; pool 0 is the chief and "
            f"has exactly 1 replica: put the other {pools[0].replica_count - 1} into pool 1"
        )
    if len(pools) > 2:
        raise TierError(
            f"train.pools has {len(pools)} pools; pool 2 would hold parameter servers and pool 3 "
            f"an evaluator, which Keras 3 does not have: put all workers into pool 1"
        )
    if any(pool.tpu_topology for pool in pools) and len(pools) > 1:
        raise TierError("a TPU job has one pool with one replica; leave out train.pools[1]")
    for index, pool in enumerate(pools):
        where = f"train.pools[{index}]"
        _check_support(pool, where, today)
        _check_machine(pool, where)


def read_pool(data: Mapping[str, Any], where: str) -> Pool:
    """Reads one pool; `where` names it in errors.

    Raises:
        TierError: The pool is empty, or a value has the wrong kind.
    """
    if not data:
        raise TierError(
            f"{where} is empty; Vertex's launcher drops empty pools and the roles of the others "
            f"shift: leave no hole between pools"
        )
    for key in data:
        if key not in _KEYS:
            raise TierError(f"{where}: unknown key {key!r}{near(key, _KEYS)}")
    if not data.get("machine_type"):
        raise TierError(f"{where}.machine_type is missing; for example n1-standard-8")
    return Pool(
        machine_type=data["machine_type"],
        replica_count=_whole(data.get("replica_count", 1), f"{where}.replica_count", least=1),
        accelerator_type=data.get("accelerator_type") or "",
        accelerator_count=_whole(data.get("accelerator_count") or 0, f"{where}.accelerator_count"),
        tpu_topology=data.get("tpu_topology") or "",
    )


def _check_support(pool: Pool, where: str, today: datetime.date) -> None:
    for end in load()["ends"]:
        used = {"machine": pool.machine_type, "accelerator": pool.accelerator_type}
        if used.get(end["kind"]) == end["name"] and end["date"] <= today:
            raise TierError(
                f"{where}: {end['name']} is no longer for training, its support ended on "
                f"{end['date']}; use {end['instead']}"
            )


def _check_machine(pool: Pool, where: str) -> None:
    rules, machine = load(), pool.machine_type
    if machine in rules["tpu"]:
        _check_tpu(pool, where, rules["tpu"][machine])
        return
    if pool.tpu_topology:
        raise TierError(
            f"{where}: {machine} has no TPU, so it takes no tpu_topology {pool.tpu_topology!r}; "
            f"TPU machines are {', '.join(rules['tpu'])}"
        )
    if bool(pool.accelerator_type) != bool(pool.accelerator_count):
        raise TierError(
            f"{where}: accelerator_type {pool.accelerator_type or None!r} and accelerator_count "
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
    if pool.accelerator_type or pool.accelerator_count:
        raise TierError(
            f"{where}: {pool.machine_type} is a TPU machine and names a tpu_topology, no "
            f"accelerator; leave out accelerator_type and accelerator_count"
        )
    if pool.tpu_topology not in topologies:
        raise TierError(
            f"{where}: {pool.machine_type} has no topology {pool.tpu_topology!r}; "
            f"choose one of {', '.join(topologies)}"
        )
    if pool.replica_count != 1:
        raise TierError(
            f"{where}: a TPU pool has 1 replica, not {pool.replica_count}; "
            f"the topology says how many chips train"
        )


def _check_bundled(pool: Pool, where: str, bundle: Mapping[str, int]) -> None:
    ((accelerator, count),) = bundle.items()
    if (pool.accelerator_type, pool.accelerator_count) != (accelerator, count):
        asked = f"{pool.accelerator_count} {pool.accelerator_type}".strip()
        raise TierError(
            f"{where}: {pool.machine_type} comes with {count} {accelerator}, not with {asked}; "
            f"set accelerator_type: {accelerator} and accelerator_count: {count}"
        )


def _check_attached(pool: Pool, where: str) -> None:
    rules = load()["attachable"]
    fits = next((rule["counts"] for rule in rules if pool.machine_type in rule["machines"]), None)
    if fits is None:
        raise TierError(
            f"{where}: {pool.machine_type} takes no accelerator; GPUs attach to N1 machines "
            f"(n1-standard-8), or come with a machine (g2-standard-8 has 1 NVIDIA_L4)"
        )
    if pool.accelerator_type not in fits:
        raise TierError(
            f"{where}: {pool.machine_type} takes no {pool.accelerator_type}"
            f"{near(pool.accelerator_type, fits)}"
        )
    counts = fits[pool.accelerator_type]
    if pool.accelerator_count not in counts:
        nearest = min(counts, key=lambda count: abs(count - pool.accelerator_count))
        raise TierError(
            f"{where}: {pool.machine_type} takes {', '.join(map(str, counts))} "
            f"{pool.accelerator_type}, not {pool.accelerator_count}; the nearest is {nearest}"
        )


def _whole(value: Any, where: str, least: int = 0) -> int:
    """Restores an int that travelled through a pipeline as 3.0."""
    whole = not isinstance(value, bool) and isinstance(value, int | float) and value == int(value)
    if not whole or value < least:
        raise TierError(f"{where} is {value!r}; give a whole number of at least {least}")
    return int(value)
