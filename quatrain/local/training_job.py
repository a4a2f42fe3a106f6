"""Runs the worker pools of a Vertex CustomJob as local processes with Vertex's environment."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quatrain.components.errors import TrainingFailed
from quatrain.local.processes import POLL_S, Process, describe_exit, stop_all
from quatrain.trainer.failure import LOST

ROLES = ("chief", "worker")
"""The roles of pool 0 and pool 1 in TF_CONFIG; the trainer has no parameter servers."""
LAST_REPLICA_GRACE_S = 30.0
"""Seconds that the workers may run on after the chief has succeeded, and that a replica may run on
after all those that have ended have lost another one, perhaps this one, which knows the cause."""

MAX_RESTARTS = 3
"""How often a job restarts after its machine was preempted, as on Vertex:
https://cloud.google.com/vertex-ai/docs/training/understanding-training-service."""

PREEMPTED = (128 + signal.SIGKILL, 128 + signal.SIGTERM)
"""The exit codes of a preempted replica. Any other failure but LOST comes from the code, so a retry
would only repeat it."""

CPU_STRATEGIES = {"tpu": "one_device"}
"""Strategies that need hardware, with their replacement here; all others run on a CPU."""

_NONE: Mapping[str, str] = {}
_SERVICE_PREFIXES = ("AIP_", "CLOUD_ML_")
_SERVICE_NAMES = ("CLUSTER_SPEC", "TF_CONFIG")
_PYTHONS = ("python", "python3")


class Stopped(Exception):
    """Raised by `tick` to stop a job."""


@dataclass(frozen=True)
class Replica:
    """One machine of the job: its command, and the environment that Vertex would set."""

    pool: int
    index: int
    command: tuple[str, ...]
    env: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name in Vertex's logs."""
        return f"workerpool{self.pool}-{self.index}"


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        succeeded: Whether it succeeded.
        reason: Why it ended.
        log: The log with the details.
        cpu_s: CPU-seconds of all its processes.
        preempted: Whether its machine was preempted, so that a retry makes sense.
        peak_mb: The largest resident set of one of its processes, in MiB.
    """

    succeeded: bool
    reason: str
    log: Path
    cpu_s: float
    preempted: bool = False
    peak_mb: float = 0.0


def read_replicas(
    job: Mapping[str, Any],
    environ: Mapping[str, str],
    service: Mapping[str, str] = _NONE,
) -> list[Replica]:
    """Returns the replicas of a job, the chief first.

    Args:
        job: The `--payload` of the custom-job launcher: a Vertex CustomJob.
        environ: The environment that the replicas inherit, without the service's variables.
        service: Further variables of the service, such as those of a tuning trial.

    Raises:
        TrainingFailed: A pool is empty, or has a role that does not exist.
    """
    pools = job["job_spec"]["worker_pool_specs"]
    counts = [_count(pool, index) for index, pool in enumerate(pools)]
    if not counts or counts[0] != 1 or len(counts) > len(ROLES):
        raise TrainingFailed(
            f"the job has worker pools of {counts} replicas; "
            f"it needs 1 chief in pool 0, workers only in pool 1"
        )
    addresses = _addresses(counts)
    base = (job["job_spec"].get("base_output_directory") or {}).get("output_uri_prefix", "")
    inherited = {k: v for k, v in environ.items() if not _is_service(k)}
    return [
        Replica(
            pool=pool,
            index=index,
            command=_command(pools[pool]["container_spec"]),
            env={
                **inherited,
                **_own_env(pools[pool]["container_spec"]),
                **_service_env(addresses, pool, index, base),
                **service,
            },
        )
        for pool, count in enumerate(counts)
        for index in range(count)
    ]


def run_job(
    job: Mapping[str, Any],
    environ: Mapping[str, str],
    log: Path,
    tick: Callable[[], None] = lambda: None,
    report: Callable[[str], None] = lambda text: None,
    service: Mapping[str, str] = _NONE,
) -> Outcome:
    """Runs a job. When a replica is killed, all restart and continue from the last checkpoint.

    Args:
        job: A Vertex CustomJob.
        environ: The environment that the replicas inherit.
        log: The chief's log.
        tick: Called while the job runs; it may raise `Stopped`.
        report: Receives a line at each restart.
        service: Further variables of the service.

    Raises:
        TrainingFailed: A pool is empty, or has a role that does not exist.
    """
    deadline = time.monotonic() + timeout_of(job)
    cpu_s = peak_mb = 0.0
    for restart in range(1, MAX_RESTARTS + 2):
        replicas = read_replicas(job, environ, service)
        outcome = run_replicas(replicas, log, deadline - time.monotonic(), tick)
        cpu_s += outcome.cpu_s
        peak_mb = max(peak_mb, outcome.peak_mb)
        restarts = outcome.preempted and (len(replicas) == 1 or _restarts_together(job))
        if not restarts or restart > MAX_RESTARTS:
            break
        report(f"{outcome.reason.splitlines()[0]}; starting again, {restart} of {MAX_RESTARTS}")
    return replace(outcome, cpu_s=cpu_s, peak_mb=peak_mb)


def _restarts_together(job: Mapping[str, Any]) -> bool:
    """Whether the end of one replica restarts all of them, as synchronous training needs."""
    return bool(job["job_spec"].get("scheduling", {}).get("restart_job_on_worker_restart"))


def run_replicas(
    replicas: Sequence[Replica],
    log: Path,
    timeout_s: float,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Runs the replicas until the chief ends, one of them fails or the time is over.

    The chief logs to `log`, every other replica to a file beside it.
    """
    logs = [log if r.pool == 0 else log.with_name(f"{log.stem}-{r.name}.log") for r in replicas]
    processes: list[Process] = []
    reason = f"the job took longer than {timeout_s:g} s"
    deadline = time.monotonic() + timeout_s
    try:
        for replica, path in zip(replicas, logs, strict=True):
            processes.append(Process(replica.command, path, replica.env))
        while (decisive := _decisive(processes)) is None and time.monotonic() < deadline:
            tick()
            time.sleep(POLL_S)
        if decisive is not None and processes[decisive].code == LOST:
            _let_finish(processes)
            decisive = _decisive(processes)
        if decisive == 0 and processes[0].code == 0:
            _let_finish(processes[1:])
    except Stopped:
        decisive, reason = None, "the job was stopped"
    finally:
        stop_all(processes)
    cpu_s = sum(process.cpu_s for process in processes)
    peak_mb = max(process.peak_mb for process in processes)
    if decisive is None:
        return Outcome(False, reason, log, cpu_s, peak_mb=peak_mb)
    name, code = replicas[decisive].name, processes[decisive].wait()
    reason = f"{name}: {describe_exit(code, logs[decisive])}"
    preempted = code in (*PREEMPTED, LOST)
    return Outcome(code == 0, reason, logs[decisive], cpu_s, preempted, peak_mb)


def timeout_of(job: Mapping[str, Any]) -> float:
    """Returns the job's time limit in seconds; Vertex's default is seven days."""
    text = job["job_spec"].get("scheduling", {}).get("timeout") or "604800s"
    return float(text.removesuffix("s"))


def replicas_of(job: Mapping[str, Any]) -> int:
    """Returns how many replicas a job has."""
    return sum(int(pool.get("replica_count", 1)) for pool in job["job_spec"]["worker_pool_specs"])


def hardware_of(job: Mapping[str, Any]) -> list[str]:
    """Returns the GPUs and TPUs that the job would have on Vertex, but not here."""
    machines = [pool.get("machine_spec", {}) for pool in job["job_spec"]["worker_pool_specs"]]
    return [
        m.get("accelerator_type") or m["machine_type"]
        for m in machines
        if m.get("accelerator_type") or m.get("tpu_topology")
    ]


def _count(pool: Mapping[str, Any], index: int) -> int:
    if not pool or not pool.get("container_spec"):
        raise TrainingFailed(
            f"worker pool {index} is empty; Vertex's launcher drops empty pools, which shifts the "
            f"roles of the others: leave no hole between pools"
        )
    return int(pool.get("replica_count", 1))


def _addresses(counts: Sequence[int]) -> list[list[str]]:
    """Returns a free loopback address for each replica of each pool."""
    # All are bound before any is closed, so that no two replicas get the same port.
    sockets = [[socket.socket() for _ in range(count)] for count in counts]
    for each in itertools.chain(*sockets):
        each.bind(("127.0.0.1", 0))
    addresses = [[f"127.0.0.1:{s.getsockname()[1]}" for s in pool] for pool in sockets]
    for each in itertools.chain(*sockets):
        each.close()
    return addresses


def _command(container: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the container's command, with this Python and without accelerators."""
    command = [*container.get("command", []), *container.get("args", [])]
    for index, argument in enumerate(command[:-1]):
        if argument == "--strategy":
            command[index + 1] = CPU_STRATEGIES.get(command[index + 1], command[index + 1])
        if argument in ("--gpus", "--tpus"):
            command[index + 1] = "0"
    program = sys.executable if command[0] in _PYTHONS else command[0]
    return (program, *command[1:])


def _own_env(container: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}


def _is_service(name: str) -> bool:
    return name in _SERVICE_NAMES or name.startswith(_SERVICE_PREFIXES)


def _service_env(
    addresses: Sequence[Sequence[str]], pool: int, index: int, base: str
) -> dict[str, str]:
    """Returns the variables that Vertex sets; TF_CONFIG only if there are several replicas."""
    env = {
        "CLUSTER_SPEC": json.dumps(
            {
                "cluster": {f"workerpool{i}": list(hosts) for i, hosts in enumerate(addresses)},
                "environment": "cloud",
                "task": {"type": f"workerpool{pool}", "index": index},
            }
        )
    }
    if sum(len(hosts) for hosts in addresses) > 1:
        env["TF_CONFIG"] = json.dumps(
            {
                "cluster": dict(zip(ROLES, addresses, strict=False)),
                "environment": "cloud",
                "task": {"type": ROLES[pool], "index": index},
            }
        )
    if base:
        env["AIP_MODEL_DIR"] = os.path.join(base, "model/")
        env["AIP_CHECKPOINT_DIR"] = os.path.join(base, "checkpoints/")
        env["AIP_TENSORBOARD_LOG_DIR"] = os.path.join(base, "logs/")
    return env


def _decisive(processes: Sequence[Process]) -> int | None:
    """Returns the index of the replica that decides the job, or None while all may go on.

    It is a killed replica, else a failed one, else one that lost another one, else the chief once
    it has succeeded.
    """
    codes = [process.poll() for process in processes]
    failed = [i for i, code in enumerate(codes) if code]
    if failed:  # killed replicas first, as their loss may have made others fail
        return min(failed, key=lambda i: (codes[i] not in PREEMPTED, codes[i] == LOST, i))
    return 0 if codes[0] == 0 else None


def _let_finish(replicas: Sequence[Process]) -> None:
    deadline = time.monotonic() + LAST_REPLICA_GRACE_S
    while any(replica.poll() is None for replica in replicas) and time.monotonic() < deadline:
        time.sleep(POLL_S)
