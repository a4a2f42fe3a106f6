"""What a run may cost, compared with the budget."""

from __future__ import annotations

import datetime
from pathlib import Path

from quatrain.components.specification.schema import ModelSpec
from quatrain.components.tiers import prices, tiers
from quatrain.vertex.cloud_file import Cloud
from quatrain.vertex.findings import Finding

OLD = datetime.timedelta(days=365)
"""How old a table of prices may be before doctor warns."""


def price(
    spec: ModelSpec,
    cloud: Cloud,
    tier: tiers.Tier,
    table: Path = prices.OWN,
    today: datetime.date | None = None,
) -> Finding:
    """Compares what a run may cost with the budget; without one, tells it.

    Args:
        spec: The spec of the run.
        cloud: Where it runs, and its budget.
        tier: Its machines.
        table: The table of prices.
        today: The day that the age of the table is told by; by default this one.
    """
    budget = cloud.budget_usd
    try:
        listed = prices.load_prices(table)
        seconds = spec.train.settings.max_seconds
        trials = spec.train.tune.trials if spec.train.tune else 0
        cost = prices.estimate(listed, tier, cloud.location, seconds, cloud.retries, trials)
    except prices.PriceError as error:
        return Finding("price", "error" if budget else "unasked", str(error))
    says = (
        f"about {cost.total.low:.2f} to {cost.total.high:.2f} USD a run by the list prices of "
        f"{listed.checked}; an hour of training {_usd(cost.hour)}; "
    )
    says += f"with {trials} trials and " if trials else "with " if cost.bounded else ""
    says += f"train.max_seconds {seconds:g}" if cost.bounded else "no train.max_seconds"
    old = (today or datetime.date.today()) - listed.checked > OLD
    hint = f"write a newer table by {prices.OWN.name} and give --prices FILE" if old else ""
    if budget is None:
        return Finding("price", "warning" if old or not cost.bounded else "ok", says, hint)
    if cost.bounded and cost.total.high <= budget:
        within = f"{says}, within the budget of {budget:g} USD"
        return Finding("price", "warning" if old else "ok", within, hint)
    fits = cost.seconds_within(budget, listed.run.start_h.high)
    mend = f"--set train.max_seconds={fits}"
    if not fits:
        mend = "no time of training keeps to it: take a smaller tier, or raise budget_usd"
    why = "may cost more" if cost.bounded else "has no bound of its time, so may cost more"
    told = f"the run {why} than the budget of {budget:g} USD: {says}"
    return Finding("price", "error", told, mend)


def _usd(span: prices.Range) -> str:
    low, high = f"{span.low:.2f}", f"{span.high:.2f}"
    return f"{low} USD" if low == high else f"{low} to {high} USD"
