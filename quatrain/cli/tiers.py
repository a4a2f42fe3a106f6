"""The verb that shows what a tier means: tiers."""

from __future__ import annotations

from pathlib import Path

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, PRICES


@click.command()
@click.argument("tier", required=False, shell_complete=completion.tiers)
@PRICES
@JSON
def tiers(tier: str | None, prices: Path | None, as_json: bool) -> None:
    """List what each tier means today, or show one TIER in full.

    \b
    Example:
      quatrain tiers STANDARD_1
    """  # noqa: D301
    from quatrain.components.tiers.prices import OWN
    from quatrain.terminal.json_documents import tier_document, tier_documents
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.printouts import tier_details, tier_table

    table = prices or OWN
    if as_json:
        click.echo(json_text(tier_document(tier, table) if tier else tier_documents(table)))
    else:
        click.echo(tier_details(tier, table) if tier else tier_table())
