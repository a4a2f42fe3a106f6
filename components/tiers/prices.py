"""Estimates the cost of a run as a range, from a dated table that a user can replace."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quatrain.components.documents import DocumentError, read_documents, requirement
from quatrain.components.errors import QuatrainError
from quatrain.components.tiers.pools import Pool
from quatrain.components.tiers.scheduling import ALLOWANCE_S, timeout_s
from quatrain.components.tiers.tiers import Tier

OWN = Path(__file__).with_name("prices.yaml")

_Usd = Annotated[float, Field(ge=0)]


class PriceError(QuatrainError):
    """The table of prices cannot be read, or lacks hardware that a run uses."""


class _Quote(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Quote):
    """A number between a low and a high bound."""

    low: _Usd
    high: _Usd

    def __add__(self, other: Interval) -> Interval:
        return Interval(low=self.low + other.low, high=self.high + other.high)

    def __mul__(self, factor: float) -> Interval:
        return Interval(low=self.low * factor, high=self.high * factor)

    def times(self, other: Interval) -> Interval:
        """Returns the product of two intervals."""
        return Interval(low=self.low * other.low, high=self.high * other.high)


class Family(_Quote):
    """USD per hour for a vCPU and for a GB, and the GB that come with each vCPU."""

    vcpu: _Usd
    gb: _Usd
    gb_a_vcpu: _Usd


class Hours(_Quote):
    """A run: its fee in USD, the machine of a step, and how long things take, in hours."""

    fee: _Usd
    step_machine: str
    steps_h: Interval
    start_h: Interval
    training_h: Interval


class Prices(_Quote):
    """A table of prices; `prices.yaml` explains each part."""

    checked: datetime.date
    management: _Usd
    families: Mapping[str, Family]
    accelerators: Mapping[str, _Usd]
    machines: Mapping[str, _Usd]
    scheduling: Mapping[str, Interval]
    regions: Mapping[str, _Usd]
    elsewhere: Interval
    run: Hours

    def of_machine(self, machine: str) -> float:
        """Returns USD per hour of a machine in us-central1, without attached accelerators.

        Raises:
            PriceError: The table lacks the machine.
        """
        if machine in self.machines:
            return self.machines[machine]
        name, _, size = machine.rpartition("-")
        if name not in self.families or not size.isdigit():
            raise PriceError(
                f"machine {machine} is not in the table of prices of {self.checked}; "
                f"add it under `machines` of a copy and give --prices FILE"
            )
        family = self.families[name]
        return int(size) * (family.vcpu + family.gb_a_vcpu * family.gb) * self.management

    def of_pool(self, pool: Pool) -> float:
        """Returns USD per hour of a pool in us-central1.

        Raises:
            PriceError: The table lacks the machine or the accelerator.
        """
        machine = self.of_machine(pool.machine_type)
        # A machine with a price of its own includes its accelerators.
        if pool.accelerator_type and pool.machine_type not in self.machines:
            if pool.accelerator_type not in self.accelerators:
                raise PriceError(
                    f"accelerator {pool.accelerator_type} is not in the table of prices of "
                    f"{self.checked}; add it to a copy and give --prices FILE"
                )
            each = self.accelerators[pool.accelerator_type] * self.management
            machine += (pool.accelerator_count or 1) * each
        return machine * pool.replica_count

    def of_tier(self, tier: Tier, location: str = "") -> Interval:
        """Returns USD per hour of all machines of a tier, in one region or anywhere.

        Raises:
            PriceError: The table lacks a machine, an accelerator or the tier's scheduling.
        """
        if tier.scheduling not in self.scheduling:
            raise PriceError(
                f"scheduling {tier.scheduling} is not in the table of prices of {self.checked}; "
                f"add it to a copy and give --prices FILE"
            )
        machines = sum(self.of_pool(pool) for pool in tier.pools)
        return self.of_region(location).times(self.scheduling[tier.scheduling]) * machines

    def of_region(self, location: str) -> Interval:
        """Returns a region's prices relative to us-central1, as a range if it is not listed."""
        if location in self.regions:
            return Interval(low=self.regions[location], high=self.regions[location])
        return self.elsewhere


@dataclass(frozen=True)
class Estimate:
    """The cost of a run, in USD.

    Attributes:
        hour: An hour of the training machines.
        hours: An hour of the training machines, and of the machines of every trial of a tuning.
        steps: The run's fee, and its steps other than training.
        total: The whole run.
        bounded: Whether the spec bounds the time of training; without that, `total.high` assumes a
            bound.
    """

    hour: Interval
    hours: Interval
    steps: Interval
    total: Interval
    bounded: bool

    def seconds_within(self, budget_usd: float) -> int:
        """Returns the largest `train.max_seconds` within a budget, or 0 if there is none."""
        job_s = (budget_usd - self.steps.high) / self.hours.high * 3600
        return max(0, int(job_s - ALLOWANCE_S))

    @property
    def hanging(self) -> float:
        """The cost of a training job that hangs until Vertex AI ends it after seven days."""
        return self.hours.high * timeout_s(0) / 3600


def load_prices(path: Path = OWN) -> Prices:
    """Reads a table of prices.

    Raises:
        PriceError: The file cannot be read, or does not have the form of `prices.yaml`.
    """
    try:
        return Prices.model_validate(next(iter(read_documents(path)), None))
    except DocumentError as error:
        raise PriceError(f"{path}: {error}") from error
    except ValidationError as error:
        places = [
            f"{'.'.join(map(str, e['loc'])) or 'it'} {requirement(e)}" for e in error.errors()
        ]
        raise PriceError(
            f"{path}: has another form than {OWN.name} ({'; '.join(places)}); correct that"
        ) from error


def estimate(
    prices: Prices,
    tier: Tier,
    location: str,
    max_seconds: float,
    retries: int = 0,
    trials: int = 0,
) -> Estimate:
    """Returns the cost of a run.

    Args:
        prices: The table.
        tier: The training machines.
        location: The job's region.
        max_seconds: The spec's bound on the time of training; 0 stands for no bound. The high end
            comes from the job's timeout, which follows from it.
        retries: The number of times that a step may be repeated, which raises the high end.
        trials: The trials of a tuning, each as long as the training, and always on demand.

    Raises:
        PriceError: The table lacks a machine or an accelerator.
    """
    factor, run = prices.of_region(location), prices.run
    hour = prices.of_tier(tier, location)
    steps = (factor * prices.of_machine(run.step_machine)).times(run.steps_h)
    steps = Interval(low=steps.low + run.fee, high=steps.high * (1 + retries) + run.fee)
    low_h = min(run.training_h.low, max_seconds / 3600 or run.training_h.low) + run.start_h.low
    high_h = run.training_h.high + run.start_h.high
    training = Interval(low=low_h, high=timeout_s(max_seconds) / 3600 if max_seconds else high_h)
    hours = hour + prices.of_tier(replace(tier, scheduling="STANDARD"), location) * trials
    return Estimate(hour, hours, steps, steps + hours.times(training), bool(max_seconds))
