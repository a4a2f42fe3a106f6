"""The flights job in polars: `polars_.py INPUT OUT eager|streaming`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measuring import measured
from benchmarks.peers import job


def scan(path: str) -> pl.LazyFrame:
    """Reads the columns of the job; a cell that cannot be converted is missing."""
    schema = {name: pl.Int64 if type_ == "int" else pl.String for name, type_ in job.TYPES.items()}
    return (
        pl.scan_csv(
            path,
            schema_overrides=schema,
            null_values=["", "NA"],
            ignore_errors=True,
            truncate_ragged_lines=True,
        )
        .select(job.COLUMNS)
        .with_columns(pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", strict=False))
    )


def cleaned(rows: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Returns the accepted rows with label and split, and the rejected ones with a reason."""
    reason = (
        pl.when(pl.col("dep_time").is_null())
        .then(pl.lit("never_left"))
        .when(pl.col("arr_delay").is_null())
        .then(pl.lit("no_arrival_delay"))
    )
    rows = rows.with_columns(reason=reason)
    days = pl.LazyFrame(
        dict(zip(("month", "day", "split"), job.DAYS, strict=True)),
        schema={"month": pl.Int64, "day": pl.Int64, "split": pl.Int8},
    )
    accepted = (
        rows.filter(pl.col("reason").is_null())
        .drop("reason")
        .with_columns(late=pl.col("arr_delay") >= 15)
        .join(days, on=["month", "day"], how="left", maintain_order="left")
    )
    return accepted, rows.filter(pl.col("reason").is_not_null())


def statistics(part: pl.LazyFrame, streaming: bool) -> dict[str, Any]:
    """Returns counts, moments and quantiles of numbers and times, and the values of texts."""
    expressions = []
    for name in job.NUMBERS:
        column = pl.col(name)
        values = column.cast(pl.Float64)
        expressions += [
            column.null_count().alias(f"{name}|missing"),
            values.mean().alias(f"{name}|mean"),
            values.std(ddof=0).alias(f"{name}|stddev"),
            column.n_unique().alias(f"{name}|distinct"),
            values.quantile(list(job.QUANTILES), "lower").alias(f"{name}|quantiles"),
        ]
    edges = pl.col("dep_delay").cast(pl.Float64).quantile(job.EDGES, "lower")
    expressions.append(edges.alias("edges"))
    for name in job.TEXTS:
        expressions.append(pl.col(name).value_counts(sort=True).implode().alias(f"{name}|top"))
    result = part.select(pl.len().alias("rows"), *expressions).collect(engine=engine(streaming))
    return result.row(0, named=True)


def engine(streaming: bool) -> Any:
    """Returns the name of the engine of polars."""
    return "streaming" if streaming else "in-memory"


def engineered(accepted: pl.LazyFrame, train: dict[str, Any]) -> pl.LazyFrame:
    """Returns the features of flights.yaml, fitted to the statistics of the train split."""
    columns: list[pl.Expr] = []
    for name in job.STANDARDIZED:
        mean, stddev = train[f"{name}|mean"], train[f"{name}|stddev"]
        median = train[f"{name}|quantiles"][job.MEDIAN]
        scaled = (pl.col(name).cast(pl.Float64).fill_null(median) - mean) / stddev
        columns.append(scaled.cast(pl.Float32).alias(name))
    edges = pl.Series(np.unique(train["edges"]))
    bucket = pl.lit(edges).search_sorted(pl.col("dep_delay").cast(pl.Float64), side="right") + 1
    bucket = pl.when(pl.col("dep_delay").is_null()).then(0).otherwise(bucket)
    columns.append(bucket.cast(pl.Int32).alias("dep_delay_bucket"))
    for name, turns in (
        ("departs", pl.col("hour") / 24),
        ("season", pl.col("month") / 12),
        ("weekday", (pl.col("time_hour").dt.weekday() - 1) / 7),
    ):
        angle = turns.cast(pl.Float64) * (2 * np.pi)
        columns.append(angle.sin().cast(pl.Float32).alias(f"{name}_sin"))
        columns.append(angle.cos().cast(pl.Float32).alias(f"{name}_cos"))
    for name, least in job.VOCABULARIES.items():
        tokens = [v[name] for v in train[f"{name}|top"] if v["count"] >= least and v[name]]
        index = pl.col(name).replace_strict(
            tokens, list(range(2, len(tokens) + 2)), default=1, return_dtype=pl.Int32
        )
        columns.append(pl.when(pl.col(name).is_null()).then(0).otherwise(index).alias(name))
    for name, (parts, buckets) in job.CROSSES.items():
        text = pl.concat_str([pl.col(p).cast(pl.String) for p in parts], separator="\x1f")
        columns.append((text.hash(0) % buckets + 1).cast(pl.Int32).alias(name))
    label = pl.col("late").cast(pl.Int32).alias("label")
    raw = [pl.col(c).alias(f"raw_{c}") for c in job.RAW]
    return accepted.select(*columns, label, *raw, pl.col("split"))


def run(path: str, out: Path, streaming: bool) -> None:
    """Does the whole job."""
    out.mkdir(parents=True, exist_ok=True)
    accepted, rejected = cleaned(scan(path))
    if not streaming:
        both = pl.collect_all([accepted, rejected])
        accepted, rejected = (frame.lazy() for frame in both)
    rejected.sink_parquet(out / "rejected.parquet", compression="snappy", engine=engine(streaming))
    splits = {
        s: statistics(accepted.filter(pl.col("split") == i), streaming)
        for i, s in enumerate(job.SPLITS)
    }
    job.write_statistics(out, splits)
    rows = engineered(accepted, splits["train"])
    if not streaming:
        rows = rows.collect().lazy()
    for i, split in enumerate(job.SPLITS):
        part = rows.filter(pl.col("split") == i).drop("split")
        part = part.drop([f"raw_{c}" for c in job.RAW]) if split == "train" else part
        part.sink_parquet(out / f"{split}.parquet", compression="snappy", engine=engine(streaming))


if __name__ == "__main__":
    source, target, how = sys.argv[1:]
    folder = Path(target)
    measured(lambda: run(source, folder, how == "streaming"), lambda: job.outcome(folder))
