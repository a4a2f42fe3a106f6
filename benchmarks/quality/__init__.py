"""Measures the quality of the default model: `python -m benchmarks.quality`.

`tables.toml` has the tables, `results.jsonl` what was measured, docs/quality.md the page. A cell is
one system on one split of one table. It is measured once, in processes of its own, and again if
what it was measured from has changed: the table, the split, our sources or the libraries' versions.
"""
