"""What verbs print with `--json`: the same facts as their texts, under keys that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quatrain.components.artifacts import ANOTHER_RUN
from quatrain.components.folder import in_shape, read_manifest
from quatrain.components.tiers import tiers
from quatrain.components.tiers.prices import PriceError, Prices, load_prices
from quatrain.terminal.printouts import status_of


def tier_documents(table: Path) -> list[dict[str, Any]]:
    """Returns every tier, in the order of the file.

    Args:
        table: The table of prices.

    Raises:
        PriceError: The table cannot be read.
    """
    prices = load_prices(table)
    return [_tier_document(tiers.describe(name), prices) for name in tiers.names()]


def tier_document(name: str, table: Path) -> dict[str, Any]:
    """Returns one tier.

    Raises:
        TierError: No tier has this name.
        PriceError: The table cannot be read.
    """
    return _tier_document(tiers.describe(name), load_prices(table))


def _tier_document(tier: tiers.Tier, prices: Prices) -> dict[str, Any]:
    try:
        hour = prices.of_tier(tier) if tier.pools else None
    except PriceError:  # a machine that is not in the table
        hour = None
    return {
        "name": tier.name,
        "summary": tier.summary,
        "pools": tier.pools,
        "scheduling": tier.scheduling,
        "strategy": tier.strategy,
        "batch_rule": tier.batch_rule,
        "was": tier.was or None,
        "was_usd_per_hour": tier.price_usd_h,
        "usd_per_hour": hour,
        "prices_checked": prices.checked,
        "notes": tier.notes,
        "warnings": tiers.warnings(tier),
    }


def run_document(folder: Path) -> dict[str, Any]:
    """Returns a run: its record, its metrics, and the path of its report.

    Raises:
        ArtifactError: A record cannot be read.
    """
    record = read_manifest(folder, "run.json", step="run")
    with in_shape(folder / "run.json", ANOTHER_RUN):
        status = status_of(record)
    is_measured = (folder / "metrics.json").is_file()
    page = folder / "report.html"
    return {
        "folder": folder.absolute(),
        "run": {**record, "status": status},
        "metrics": read_manifest(folder, "metrics.json", step="evaluate") if is_measured else None,
        "page": page.absolute() if page.is_file() else None,
    }
