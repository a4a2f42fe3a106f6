"""A job's settings for Vertex's scheduler, and the rules of `tiers.yaml` for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from quatrain.components.errors import TierError
from quatrain.components.tiers.pools import Pool
from quatrain.components.tiers.rules import load
from quatrain.components.wording import near

ALLOWANCE_S = 1_800
"""What a job may take beside `train.max_seconds`: to read the rows, and to export and upload."""


class Scheduling(NamedTuple):
    """Vertex's `Scheduling`, in the arguments of CustomTrainingJobOp."""

    strategy: str
    timeout: str
    restart_job_on_worker_restart: bool
    max_wait_duration: str


def timeout_s(max_seconds: float, longest_s: float = 604_800) -> float:
    """Returns after how many seconds Vertex AI ends a job.

    The trainer keeps to `max_seconds` only while it is alive, so a job that hangs needs a bound of
    the service's.

    Args:
        max_seconds: The spec's bound on the time of training; 0 stands for no bound.
        longest_s: The service's own bound: seven days.
    """
    return min(max_seconds + ALLOWANCE_S, longest_s) if max_seconds else longest_s


def scheduling_of(strategy: str, pools: Sequence[Pool], max_seconds: float = 0.0) -> Scheduling:
    """Returns the scheduling of a job, whose training takes `max_seconds` at most, unless 0.

    Replicas that train in step cannot go on without one of them. So in a job of several replicas,
    the restart of one restarts all of them, from the last checkpoint.
    """
    rule = load()["scheduling"][strategy]
    several = sum(pool.replica_count for pool in pools) > 1
    timeout = timeout_s(max_seconds, float(rule["timeout"].removesuffix("s")))
    return Scheduling(strategy, f"{math.ceil(timeout)}s", several, rule["max_wait_duration"])


def check_scheduling(strategy: str, pools: Sequence[Pool]) -> None:
    """Checks that Vertex provides the machines under this scheduling.

    Raises:
        TierError: A rule is broken; the message names it and the nearest legal choice.
    """
    rules = load()["scheduling"]
    if strategy not in rules:
        raise TierError(f"train.scheduling: unknown {strategy!r}{near(strategy.upper(), rules)}")
    for index, pool in enumerate(pools):
        where = f"train.pools[{index}]"
        allowed = load()["not_on_demand"].get(pool.machine_type)
        if allowed and strategy not in allowed:
            raise TierError(
                f"{where}: {pool.machine_type} is not to be had on demand; "
                f"set train.scheduling to {' or '.join(allowed)}"
            )
    if strategy == "FLEX_START":
        _check_flex_start(pools, rules[strategy])


def _check_flex_start(pools: Sequence[Pool], rule: dict[str, Any]) -> None:
    """Checks that all pools have the same machine, with GPUs that FLEX_START provides."""
    for index, pool in enumerate(pools):
        if pool.accelerator_type not in rule["accelerators"]:
            has = pool.accelerator_type or "no such GPU"
            raise TierError(
                f"train.pools[{index}]: {pool.machine_type} has {has}, and FLEX_START waits for "
                f"{', '.join(rule['accelerators'])}; set train.scheduling to STANDARD or SPOT"
            )
    machines = {pool.machine_type for pool in pools}
    if len(machines) > 1:
        raise TierError(
            f"FLEX_START takes the same machine in all pools, not "
            f"{' and '.join(sorted(machines))}; make them equal"
        )
