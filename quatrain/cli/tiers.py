"""The verb that shows what a tier means: tiers."""

from __future__ import annotations

from pathlib import Path

import click

from quatrain.cli.options import PRICES


@click.command()
@click.argument("tier", required=False)
@PRICES
def tiers(tier: str | None, prices: Path | None) -> None:
    """List what each tier means today, or show one TIER in full.

    \b
    Example:
      quatrain tiers STANDARD_1
    """  # noqa: D301
    from quatrain.components.tiers.prices import OWN
    from quatrain.terminal.printouts import tier_details, tier_table

    click.echo(tier_details(tier, prices or OWN) if tier else tier_table())
