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
    """Reads the columns of the job; a cell that cannot be converted is missing."""
    rows = pd.read_csv(path, usecols=job.COLUMNS, na_values=["", "NA"], keep_default_na=False)
    for name, type_ in job.TYPES.items():
        if type_ == "int" and not pd.api.types.is_numeric_dtype(rows[name]):
            rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows["time_hour"] = pd.to_datetime(rows["time_hour"], format="%Y-%m-%dT%H:%M:%SZ")
    return rows


def cleaned(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the accepted rows with label and split, and the rejected ones with a reason."""
    reason = np.where(
        rows["dep_time"].isna(),
        "never_left",
        np.where(rows["arr_delay"].isna(), "no_arrival_delay", ""),
    )
    accepted = rows[reason == ""].copy()
    accepted["late"] = accepted["arr_delay"] >= 15
    month, day, split = (np.array(v) for v in job.DAYS)
    sides = np.zeros((13, 32), np.int8)
    sides[month, day] = split
    accepted["split"] = sides[accepted["month"].astype(int), accepted["day"].astype(int)]
    return accepted, rows[reason != ""].assign(reason=reason[reason != ""])


def statistics(part: pd.DataFrame) -> dict[str, Any]:
    """Returns counts, moments and quantiles of numbers and times, and the values of texts."""
    result: dict[str, Any] = {"rows": len(part)}
    for name in job.NUMBERS:
        values = part[name]
        if name == "time_hour":
            values = values.astype("int64") / 1e9
        values = values.astype("float64")
        result |= {
            f"{name}|missing": int(values.isna().sum()),
            f"{name}|mean": values.mean(),
            f"{name}|stddev": values.std(ddof=0),
            f"{name}|distinct": values.nunique(),
        }
        quantiles = values.quantile(list(job.QUANTILES), interpolation="lower")
        result[f"{name}|quantiles"] = quantiles.tolist()
    result |= {f"{name}|top": part[name].value_counts() for name in job.TEXTS}
    return result


def engineered(accepted: pd.DataFrame, train: dict[str, Any], edges: np.ndarray) -> pd.DataFrame:
    """Returns the features of flights.yaml, fitted to the statistics of the train split."""
    columns: dict[str, Any] = {}
    for name in job.STANDARDIZED:
        mean, stddev = train[f"{name}|mean"], train[f"{name}|stddev"]
        median = train[f"{name}|quantiles"][job.MEDIAN]
        columns[name] = ((accepted[name].fillna(median) - mean) / stddev).astype("float32")
    bucket = np.searchsorted(edges, accepted["dep_delay"], side="right") + 1
    columns["dep_delay_bucket"] = np.where(accepted["dep_delay"].isna(), 0, bucket).astype("int32")
    for name, turns in (
        ("departs", accepted["hour"] / 24),
        ("season", accepted["month"] / 12),
        ("weekday", accepted["time_hour"].dt.day_of_week / 7),
    ):
        angle = turns * (2 * np.pi)
        columns[f"{name}_sin"] = np.sin(angle).astype("float32")
        columns[f"{name}_cos"] = np.cos(angle).astype("float32")
    for name, least in job.VOCABULARIES.items():
        counts = train[f"{name}|top"]
        ranks = {token: i + 2 for i, token in enumerate(counts[counts >= least].index)}
        index = accepted[name].map(ranks).fillna(1)
        columns[name] = index.where(accepted[name].notna(), 0).astype("int32")
    for name, (parts, buckets) in job.CROSSES.items():
        text = accepted[parts[0]].astype("str")
        for part in parts[1:]:
            text = text + "\x1f" + accepted[part].astype("str")
        hashed = pd.util.hash_array(text.to_numpy(dtype=object))
        columns[name] = (hashed % np.uint64(buckets) + 1).astype("int32")
    columns["label"] = accepted["late"].astype("int32")
    return pd.DataFrame(columns, index=accepted.index)


def run(path: str, out: Path) -> None:
    """Does the whole job."""
    out.mkdir(parents=True, exist_ok=True)
    accepted, rejected = cleaned(read(path))
    rejected.to_parquet(out / "rejected.parquet", compression="snappy", index=False)
    splits = {s: statistics(accepted[accepted["split"] == i]) for i, s in enumerate(job.SPLITS)}
    job.write_statistics(out, splits)
    train = accepted.loc[accepted["split"] == 0, "dep_delay"]
    edges = np.unique(train.quantile(job.EDGES, interpolation="lower"))
    rows = engineered(accepted, splits["train"], edges)
    for i, split in enumerate(job.SPLITS):
        chosen = accepted["split"] == i
        part = rows[chosen]
        if split != "train":
            part = pd.concat([part, accepted.loc[chosen, list(job.RAW)].add_prefix("raw_")], axis=1)
        part.to_parquet(out / f"{split}.parquet", compression="snappy", index=False)


if __name__ == "__main__":
    source, target = sys.argv[1:]
    folder = Path(target)
    measured(lambda: run(source, folder), lambda: job.outcome(folder))
