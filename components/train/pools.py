"""Reads worker pools and checks them by the rules of `tiers.yaml`."""

from __future__ import annotations

import datetime
import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import TierError

_POOL_KEYS = ("machine_spec", "replica_count", "disk_spec")
_MACHINE_KEYS = ("machine_type", "accelerator_type", "accelerator_count", "tpu_topology")
_DISK_KEYS = ("boot_disk_type", "boot_disk_size_gb")
_DISK_TYPES = ("pd-ssd", "pd-standard")
_DISK_GB = (100, 64_000)


@dataclass(frozen=True)
class Pool:
    """One worker pool: equal machines that play one role."""

    machine_type: str
    replica_count: int
    accelerator_type: str = ""
    accelerator_count: int = 0
    tpu_topology: str = ""
    disk: Mapping[str, Any] = field(default_factory=dict)

    def payload(self, container_spec: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the pool as Vertex's CustomJob takes it, running a container."""
        machine: dict[str, Any] = {"machine_type": self.machine_type}
        if self.accelerator_type:
            machine["accelerator_type"] = self.accelerator_type
            machine["accelerator_count"] = self.accelerator_count
        if self.tpu_topology:
            machine["tpu_topology"] = self.tpu_topology
        pool = {"machine_spec": machine, "replica_count": self.replica_count}
        if self.disk:
            pool["disk_spec"] = dict(self.disk)
        return {**pool, "container_spec": dict(container_spec)}

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
    """Reads worker pools in Vertex's shape.

    Raises:
        TierError: No pools, a hole between them, or a field that Vertex does not know.
    """
    if not pools:
        raise TierError(
            "tier CUSTOM needs train.pools; for example\n"
            "  pools: [{machine_spec: {machine_type: n1-standard-8}, replica_count: 1}]"
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
    if not data:
        raise TierError(
            f"{where} is empty; Vertex's launcher drops empty pools and the roles of the others "
            f"shift: leave no hole between pools"
        )
    _refuse_unknown(data, _POOL_KEYS, where)
    machine = data.get("machine_spec") or {}
    _refuse_unknown(machine, _MACHINE_KEYS, f"{where}.machine_spec")
    if not machine.get("machine_type"):
        raise TierError(f"{where}.machine_spec.machine_type is missing; for example n1-standard-8")
    return Pool(
        machine_type=machine["machine_type"],
        replica_count=_whole(data.get("replica_count", 1), f"{where}.replica_count", least=1),
        accelerator_type=machine.get("accelerator_type") or "",
        accelerator_count=_whole(
            machine.get("accelerator_count") or 0, f"{where}.machine_spec.accelerator_count"
        ),
        tpu_topology=machine.get("tpu_topology") or "",
        disk=_read_disk(data.get("disk_spec") or {}, f"{where}.disk_spec"),
    )


def _read_disk(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    _refuse_unknown(data, _DISK_KEYS, where)
    disk = dict(data)
    if disk.get("boot_disk_type", _DISK_TYPES[0]) not in _DISK_TYPES:
        raise TierError(
            f"{where}.boot_disk_type is {disk['boot_disk_type']!r}; choose one of {_DISK_TYPES}"
        )
    if "boot_disk_size_gb" in disk:
        size = _whole(disk["boot_disk_size_gb"], f"{where}.boot_disk_size_gb", least=_DISK_GB[0])
        if size > _DISK_GB[1]:
            raise TierError(f"{where}.boot_disk_size_gb is {size}; at most {_DISK_GB[1]}")
        disk["boot_disk_size_gb"] = size
    return disk


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
        raise TierError(f"{where}: unknown machine type {machine!r}; {choose(machine, known)}")
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
            f"{where}: {pool.machine_type} takes no {pool.accelerator_type}; "
            f"{choose(pool.accelerator_type, fits)}"
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


def _refuse_unknown(data: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise TierError(f"{where}: unknown key {key!r}; {choose(key, known)}")


def choose(value: str, known: Iterable[str]) -> str:
    """Returns the way out for an unknown name: the nearest one, or all of a short list."""
    names_ = list(known)
    near = difflib.get_close_matches(value, names_, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"choose one of {', '.join(names_)}"
