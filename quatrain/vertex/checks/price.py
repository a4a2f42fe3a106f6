"""Estimates what a run may cost, and compares it with the budget."""

from __future__ import annotations

import datetime
from pathlib import Path

from quatrain.components.specification.release import Release
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import prices, tiers
from quatrain.components.tiers.scheduling import timeout_s
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.cloud_file import Cloud

MAX_AGE = datetime.timedelta(days=365)
"""The age above which a table of prices gets a warning."""


def price(
    spec: ModelSpec,
    cloud: Cloud,
    tier: tiers.Tier,
    table: Path = prices.OWN,
    today: datetime.date | None = None,
) -> Finding:
    """Returns a finding on the cost of a run, compared with the budget if there is one.

    Args:
        spec: The spec of the run.
        cloud: Where the run takes place, and its budget.
        tier: Its machines.
        table: The table of prices.
        today: The date against which the table's age is checked; by default, today.
    """
    budget = cloud.budget_usd
    try:
        listed = prices.load_prices(table)
    except prices.PriceError as error:
        return Finding("price", "error", str(error))
    try:
        seconds = spec.train.settings.max_seconds
        trials = spec.train.tune.trials if spec.train.tune else 0
        cost = prices.estimate(listed, tier, cloud.location, seconds, cloud.retries, trials)
        served = _of_release(listed, spec.release, cloud.location)
    except prices.PriceError as error:
        return Finding("price", "error" if budget else "unchecked", str(error))
    total = cost.total.high + served
    estimate = (
        f"about {cost.total.low:.2f} to {total:.2f} USD a run by the list prices of "
        f"{listed.checked}; an hour of training {_usd(cost.hour)}; "
    )
    estimate += f"with {trials} trials and " if trials else "with " if cost.bounded else ""
    if cost.bounded:
        estimate += f"train.max_seconds {seconds:g}, whose job ends after {timeout_s(seconds):g} s"
    else:
        estimate += (
            f"no train.max_seconds, so a job that hangs ends after seven days, at "
            f"{cost.hanging:,.0f} USD"
        )
    if served and spec.release:
        hour = hour_of_version(listed, spec.release, cloud.location)
        estimate += (
            f"; {served:.2f} USD of it for its version at endpoint {spec.release.endpoint} until "
            f"the release ends, which then costs {_usd(hour)} an hour"
        )
    is_old = (today or datetime.date.today()) - listed.checked > MAX_AGE
    hint = f"write a newer table by {prices.OWN.name} and give --prices FILE" if is_old else ""
    if budget is None:
        return Finding("price", "warning" if is_old or not cost.bounded else "ok", estimate, hint)
    if cost.bounded and total <= budget:
        within = f"{estimate}, within the budget of {budget:g} USD"
        return Finding("price", "warning" if is_old else "ok", within, hint)
    fits = cost.seconds_within(budget - served)
    fix = f"--set train.max_seconds={fits}"
    if not fits:
        fix = "no training time fits it: take a smaller tier, or raise budget_usd"
    why = "may cost more" if cost.bounded else "has no time limit, so it may cost more"
    sentence = f"the run {why} than the budget of {budget:g} USD: {estimate}"
    return Finding("price", "error", sentence, fix)


def hour_of_version(listed: prices.Prices, release: Release, location: str) -> prices.Interval:
    """Returns the cost of an hour of a deployed version, in USD, by the list prices of training.

    Raises:
        PriceError: The table has no price of the machine.
    """
    hour, region = listed.of_machine(release.machine_type), listed.of_region(location)
    most = release.max_replicas or release.min_replicas
    return prices.Interval(
        low=hour * release.min_replicas * region.low, high=hour * most * region.high
    )


def _of_release(listed: prices.Prices, release: Release | None, location: str) -> float:
    """Returns the most, in USD, that a version costs beside the one before, until it serves."""
    if release is None or release.endpoint is None:
        return 0.0
    seconds = release.deploy_timeout_s + len(release.traffic) * release.hold_s
    return float(hour_of_version(listed, release, location).high * seconds / 3600)


def _usd(interval: prices.Interval) -> str:
    low, high = f"{interval.low:.2f}", f"{interval.high:.2f}"
    return f"{low} USD" if low == high else f"{low} to {high} USD"
