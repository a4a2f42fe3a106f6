"""The flights job in pandas: `pandas_.py INPUT OUT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measuring import measured
from benchmarks.peers import job


def read(path: str) -> pd.DataFrame:
    """Reads the columns of the job; what does not convert becomes missing."""
    rows = pd.read_csv(path, usecols=job.COLUMNS, na_values=["", "NA"], keep_default_na=False)
    for name, type_ in job.TYPES.items():
        if type_ == "int" and not pd.api.types.is_numeric_dtype(rows[name]):
            rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows["time_hour"] = pd.to_datetime(rows["time_hour"], format="%Y-%m-%dT%H:%M:%SZ")
    return rows


def cleaned(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the rows that are kept, with label and split, and those that are not."""
    reason = np.where(
        rows["dep_time"].isna(),
        "never_left",
        np.where(rows["arr_delay"].isna(), "no_arrival_delay", ""),
    )
    kept = rows[reason == ""].copy()
    kept["late"] = kept["arr_delay"] >= 15
    month, day, split = (np.array(v) for v in job.DAYS)
    sides = np.zeros((13, 32), np.int8)
    sides[month, day] = split
    kept["split"] = sides[kept["month"].astype(int), kept["day"].astype(int)]
    return kept, rows[reason != ""].assign(reason=reason[reason != ""])


def statistics(part: pd.DataFrame) -> dict[str, Any]:
    """Counts, moments, quantiles of numbers and times; distinct and top values of texts."""
    found: dict[str, Any] = {"rows": len(part)}
    for name in job.NUMBERS:
        values = part[name]
        if name == "time_hour":
            values = values.astype("int64") / 1e9
        values = values.astype("float64")
        found |= {
            f"{name}|missing": int(values.isna().sum()),
            f"{name}|mean": values.mean(),
            f"{name}|stddev": values.std(ddof=0),
            f"{name}|distinct": values.nunique(),
        }
        quantiles = values.quantile(list(job.QUANTILES), interpolation="lower")
        found[f"{name}|quantiles"] = quantiles.tolist()
    found |= {f"{name}|top": part[name].value_counts() for name in job.TEXTS}
    return found


def engineered(kept: pd.DataFrame, train: dict[str, Any], edges: np.ndarray) -> pd.DataFrame:
    """The features of flights.yaml, fitted to the train split's statistics."""
    columns: dict[str, Any] = {}
    for name in job.STANDARDIZED:
        mean, stddev = train[f"{name}|mean"], train[f"{name}|stddev"]
        median = train[f"{name}|quantiles"][job.MEDIAN]
        columns[name] = ((kept[name].fillna(median) - mean) / stddev).astype("float32")
    bucket = np.searchsorted(edges, kept["dep_delay"], side="right") + 1
    columns["dep_delay_bucket"] = np.where(kept["dep_delay"].isna(), 0, bucket).astype("int32")
    for name, turns in (
        ("departs", kept["hour"] / 24),
        ("season", kept["month"] / 12),
        ("weekday", kept["time_hour"].dt.day_of_week / 7),
    ):
        angle = turns * (2 * np.pi)
        columns[f"{name}_sin"] = np.sin(angle).astype("float32")
        columns[f"{name}_cos"] = np.cos(angle).astype("float32")
    for name, least in job.VOCABULARIES.items():
        counts = train[f"{name}|top"]
        ranks = {token: i + 2 for i, token in enumerate(counts[counts >= least].index)}
        index = kept[name].map(ranks).fillna(1)
        columns[name] = index.where(kept[name].notna(), 0).astype("int32")
    for name, (parts, buckets) in job.CROSSES.items():
        text = kept[parts[0]].astype("str")
        for part in parts[1:]:
            text = text + "\x1f" + kept[part].astype("str")
        hashed = pd.util.hash_array(text.to_numpy(dtype=object))
        columns[name] = (hashed % np.uint64(buckets) + 1).astype("int32")
    columns["label"] = kept["late"].astype("int32")
    return pd.DataFrame(columns, index=kept.index)


def run(path: str, out: Path) -> None:
    """The whole job."""
    out.mkdir(parents=True, exist_ok=True)
    kept, rejected = cleaned(read(path))
    rejected.to_parquet(out / "rejected.parquet", compression="snappy", index=False)
    splits = {s: statistics(kept[kept["split"] == i]) for i, s in enumerate(job.SPLITS)}
    job.write_statistics(out, splits)
    train = kept.loc[kept["split"] == 0, "dep_delay"]
    edges = np.unique(train.quantile(job.EDGES, interpolation="lower"))
    rows = engineered(kept, splits["train"], edges)
    for i, split in enumerate(job.SPLITS):
        chosen = kept["split"] == i
        part = rows[chosen]
        if split != "train":
            part = pd.concat([part, kept.loc[chosen, list(job.RAW)].add_prefix("raw_")], axis=1)
        part.to_parquet(out / f"{split}.parquet", compression="snappy", index=False)


if __name__ == "__main__":
    source, target = sys.argv[1:]
    folder = Path(target)
    measured(lambda: run(source, folder), lambda: job.said(folder))
