"""Estimates what a run may cost, and compares it with the budget."""

from __future__ import annotations

import datetime
from pathlib import Path

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
    except prices.PriceError as error:
        return Finding("price", "error" if budget else "unchecked", str(error))
    estimate = (
        f"about {cost.total.low:.2f} to {cost.total.high:.2f} USD a run by the list prices of "
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
    is_old = (today or datetime.date.today()) - listed.checked > MAX_AGE
    hint = f"write a newer table by {prices.OWN.name} and give --prices FILE" if is_old else ""
    if budget is None:
        return Finding("price", "warning" if is_old or not cost.bounded else "ok", estimate, hint)
    if cost.bounded and cost.total.high <= budget:
        within = f"{estimate}, within the budget of {budget:g} USD"
        return Finding("price", "warning" if is_old else "ok", within, hint)
    fits = cost.seconds_within(budget)
    fix = f"--set train.max_seconds={fits}"
    if not fits:
        fix = "no training time fits it: take a smaller tier, or raise budget_usd"
    why = "may cost more" if cost.bounded else "has no time limit, so it may cost more"
    sentence = f"the run {why} than the budget of {budget:g} USD: {estimate}"
    return Finding("price", "error", sentence, fix)


def _usd(interval: prices.Interval) -> str:
    low, high = f"{interval.low:.2f}", f"{interval.high:.2f}"
    return f"{low} USD" if low == high else f"{low} to {high} USD"
