"""The texts that the command line prints about tiers, specs and runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import ANOTHER_RUN
from quatrain.components.evaluate.gate import against_opponent, verdict_of
from quatrain.components.folder import MISSHAPEN, in_shape, read_manifest
from quatrain.components.quick_run import is_quick, sentence
from quatrain.components.storage import read_file
from quatrain.components.tiers import tiers
from quatrain.components.tiers.prices import PriceError, load_prices
from quatrain.components.tiers.rules import load
from quatrain.components.wording import counted, first_line
from quatrain.terminal.verdict import change_lines, failed_checks, warning_lines

N_INPUTS = 5
"""Inputs that are named as the strongest."""


def tier_table() -> str:
    """Returns a table of the tiers: what each means today, and meant in AI Platform Training."""
    rows = [("tier", "today", "scheduling", "strategy", "was")]
    for name in tiers.names():
        tier = tiers.describe(name)
        today = " and ".join(map(str, tier.pools)) or "your train.pools or train.config"
        rows.append((name, today, tier.scheduling, tier.strategy, tier.was))
    lines = align(rows)
    lines += ["", "was: what a tier of this name meant in AI Platform Training, which has ended."]
    lines += ["`quatrain tiers NAME` shows one in full. Every tier also runs here, on the CPU."]
    return "\n".join(lines)


def tier_details(name: str, table: Path) -> str:
    """Returns everything about one tier, with the warnings that apply today.

    Args:
        name: The tier.
        table: The table of prices.

    Raises:
        TierError: No tier has this name.
        PriceError: The table cannot be read.
    """
    tier = tiers.describe(name)
    old_price = "" if tier.price_usd_h is None else f" ({tier.price_usd_h:g} $/h then)"
    rows = [("today", tier.summary)]
    rows += [("was", tier.was + old_price)] if tier.was else []
    roles = ("chief", "workers")
    rows += [(role, str(pool)) for role, pool in zip(roles, tier.pools, strict=False)]
    rules = load()
    rows += [
        ("strategy", tier.strategy),
        ("batch", rules["batch_rules"][tier.batch_rule]),
        ("scheduling", f"{tier.scheduling}: {rules['scheduling'][tier.scheduling]['says']}"),
    ]
    rows += [("price", _tier_price(tier, table))] if tier.pools else []
    lines = [name, *(f"  {line}" for line in align(rows))]
    lines += ["", *(f"  - {note}" for note in tier.notes)] if tier.notes else [""]
    lines += [f"  ! {warning}" for warning in tiers.warnings(tier)]
    return "\n".join(lines)


def _tier_price(tier: tiers.Tier, table: Path) -> str:
    prices = load_prices(table)
    try:
        hour = prices.of_tier(tier)
    except PriceError as error:
        return f"unknown: {error}"
    return f"{hour.low:.2f} to {hour.high:.2f} $/h by region, by the prices of {prices.checked}"


def gate_warning(model: str) -> str | None:
    """Returns a warning if a model is of a quick run or failed its gate, or if that is not known.

    Args:
        model: The folder of a model, by its path or uri. One that was moved out of its run has no
            gate.
    """
    from quatrain.components.serve.known_models import own_evaluations

    try:
        for uri in own_evaluations(model):
            metrics = json.loads(read_file(uri))
            if is_quick(metrics):
                read = metrics["run"]["rows"]["read"]
                return f"this model is of a {sentence(metrics['sample'], read)}"
            checks = metrics["gate"]["checks"]
            if failed := [check["sentence"] for check in checks if not check["passed"]]:
                return f"this model failed its gate: {'; '.join(failed)}"
    except (OSError, *MISSHAPEN) as error:
        return f"whether this model passed its gate cannot be read ({first_line(error)})"
    return None


def run_details(folder: Path) -> str:
    """Returns the steps, metrics and gate of a run, and the path of its report."""
    record = read_manifest(folder, "run.json", step="run")
    with in_shape(folder / "run.json", ANOTHER_RUN):
        lines = _step_lines(record)
    if (folder / "metrics.json").is_file():
        metrics = read_manifest(folder, "metrics.json", step="evaluate")
        with in_shape(folder / "metrics.json", ANOTHER_RUN):
            lines += ["", *metric_lines(metrics)]
    if record.get("error"):
        lines += ["", f"error: {record['error']}"]
    if (folder / "report.html").is_file():
        lines += ["", f"page: {short_path(folder / 'report.html')}"]
    return "\n".join(lines)


def _step_lines(record: dict[str, Any]) -> list[str]:
    """Returns the name and status of a run, and a line for each step."""
    status = status_of(record)
    # run.json was last written when the step started.
    at_least = "at least " if status == "killed" else ""
    head = f"{record['name']} {record['id']}: {status} after {at_least}{record['wall_s']:.1f} s"
    rows = [("step", "status", "wall s", "CPU s", "peak MiB")]
    for step in record["steps"]:
        step_status = status if step["status"] == "running" else step["status"]
        peak = f"{step['peak_mb']:,}" if step.get("peak_mb") else "-"  # 0.1 did not measure it
        cells = (f"{step['wall_s']:.1f}", f"{step['cpu_s']:.1f}", peak)
        rows.append((step["name"], step_status, *cells))
    return [head, *align(rows)]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows of cells as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def short_path(path: Path) -> str:
    """Returns a path as a user would type it: relative if it lies below the current folder."""
    is_below = path.is_absolute() and path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd())) if is_below else str(path)


def status_of(record: dict[str, Any]) -> str:
    """Returns the status of a run by its record; `killed` if its process is gone."""
    if record["status"] == "running" and not _is_alive(record["pid"]):
        return "killed"
    return str(record["status"])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process exists, and is another user's
        return True
    return True


def _importance_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Yields the inputs that matter most, if a run before this version did not leave them out."""
    entries = metrics.get("importance", ())
    if entries and all(e["low"] is None or e["low"] <= 0 for e in entries):
        yield "no input matters to the model beyond chance"
    seen = [e for e in entries if e["low"] is not None and e["low"] > 0]
    if seen:
        listing = ", ".join(f"{e['input']} +{e['rise']:,.4f}" for e in seen[:N_INPUTS])
        rest = f", and {len(seen) - N_INPUTS} more" if len(seen) > N_INPUTS else ""
        yield f"inputs that matter most: {listing}{rest}"
        yield f"  (how much {metrics['importance_basis']['loss']} rises when one is shuffled)"


def _opponent_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Yields the comparison with the opponent, unless a check of the gate or a warning says it."""
    opponent = metrics.get("opponent")  # a run of an earlier version has none
    said = [c["metric"] for c in metrics["gate"]["checks"]]
    said += [w["kind"] for w in metrics.get("warnings", ())]
    if opponent and not opponent["why"] and "opponent" not in said:
        yield against_opponent(metrics)


def metric_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Yields the metrics with their intervals, the verdict, and what has changed."""
    rows = []
    for name, metric in metrics["metrics"].items():
        if metric.get("value") is None:
            continue
        low, high = metric.get("low"), metric.get("high")
        interval = "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
        rows.append((name, f"{metric['value']:.4f}", interval))
    intervals = ", with 95 % intervals" if any(interval for *_, interval in rows) else ""
    if is_quick(metrics):
        yield sentence(metrics["sample"], metrics["run"]["rows"]["read"])
    yield f"{counted(metrics['rows'], 'test row')}{intervals}"
    yield from align(rows)
    yield from _opponent_lines(metrics)
    yield from _importance_lines(metrics)
    yield f"gate {verdict_of(metrics)}"
    yield from failed_checks(metrics)
    yield from warning_lines(metrics)
    warned = {warning["sentence"] for warning in metrics.get("warnings", ())}
    for check in metrics["gate"]["checks"]:
        if check["passed"] and check["sentence"] not in warned:
            yield f"  ok   {check['sentence']}"
    yield from change_lines(metrics)
