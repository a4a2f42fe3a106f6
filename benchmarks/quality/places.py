"""Where the measure keeps its files."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLES = HERE / "tables.toml"
RESULTS = HERE / "results.jsonl"
"""The committed results, one cell a line."""
INTERVALS = HERE / "intervals.jsonl"
"""The committed differences between two systems, with their intervals."""
PAGE = ROOT / "docs/quality.md"
CACHE = Path.home() / ".cache/quatrain/quality"
"""What can be made again: archives, tables, environments and the losses of each test row."""
