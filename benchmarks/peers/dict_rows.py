"""The flights job in Beam with one dict a row, as in most samples: `dict_rows.py INPUT OUT`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.measuring import measured
from benchmarks.peers import job

SIDES = {(m, d): side for m, d, side in zip(*job.DAYS, strict=True)}
Row = dict[str, Any]


class Parse(beam.DoFn):
    """Turns a line into a dict, or into a rejected line."""

    def process(self, line: str) -> Iterator[Any]:
        """Parses, cleans, labels and assigns a row."""
        try:
            cells = line.split(",")
            if len(cells) != len(job.NAMES):
                raise ValueError("length")
            row = {
                n: _value(c, job.TYPES[n])
                for n, c in zip(job.NAMES, cells, strict=True)
                if n in job.TYPES
            }
            if row["dep_time"] is None or row["arr_delay"] is None:
                raise ValueError("never left or never arrived")
        except ValueError:
            yield beam.pvalue.TaggedOutput("rejected", line)
            return
        row["late"] = row["arr_delay"] >= 15
        row["split"] = SIDES[row["month"], row["day"]]
        yield row


def _value(cell: str, type_: str) -> Any:
    if cell in ("", "NA"):
        return None
    if type_ == "int":
        return int(cell)
    if type_ == "timestamp":
        return datetime.fromisoformat(cell).timestamp()
    return cell


class Moments(beam.CombineFn):
    """Sums up numbers: count, missing, sum, sum of squares, least and greatest, by column."""

    def create_accumulator(self) -> dict[str, list[float]]:
        """Returns the sums of no row."""
        return {n: [0, 0, 0.0, 0.0, math.inf, -math.inf] for n in job.NUMBERS}

    def add_input(self, total: dict[str, list[float]], row: Row) -> dict[str, list[float]]:
        """Adds a row."""
        for name, sums in total.items():
            value = row[name]
            if value is None:
                sums[1] += 1
                continue
            sums[0] += 1
            sums[2] += value
            sums[3] += value * value
            sums[4], sums[5] = min(sums[4], value), max(sums[5], value)
        return total

    def merge_accumulators(self, totals: Iterable[dict[str, list[float]]]) -> Any:
        """Adds up sums."""
        merged = self.create_accumulator()
        for total in totals:
            for name, (n, missing, s, q, low, high) in total.items():
                m = merged[name]
                merged[name] = [
                    m[0] + n,
                    m[1] + missing,
                    m[2] + s,
                    m[3] + q,
                    min(m[4], low),
                    max(m[5], high),
                ]
        return merged

    def extract_output(self, total: Any) -> Any:
        """Returns the sums as they are."""
        return total


def engineer(row: Row, moments: Any, edges: list[float], tokens: dict[str, list[str]]) -> Row:
    """Returns the features of flights.yaml for one row."""
    engineered: Row = {}
    for name in job.STANDARDIZED:
        n, _, s, q, _, _ = moments[name]
        mean = s / n
        value = row[name] if row[name] is not None else mean
        engineered[name] = (value - mean) / math.sqrt(q / n - mean * mean)
    delay = row["dep_delay"]
    engineered["dep_delay_bucket"] = 0 if delay is None else 1 + sum(e <= delay for e in edges)
    weekday = datetime.fromtimestamp(row["time_hour"], UTC).weekday()
    for name, turns in (
        ("departs", row["hour"] / 24),
        ("season", row["month"] / 12),
        ("weekday", weekday / 7),
    ):
        engineered[f"{name}_sin"] = math.sin(2 * math.pi * turns)
        engineered[f"{name}_cos"] = math.cos(2 * math.pi * turns)
    for name in job.VOCABULARIES:
        text, vocabulary = row[name], tokens[name]
        unseen_or_missing = 0 if text is None else 1
        engineered[name] = vocabulary.index(text) + 2 if text in vocabulary else unseen_or_missing
    for name, (parts, buckets) in job.CROSSES.items():
        engineered[name] = 1 + crc32("\x1f".join(str(row[p]) for p in parts).encode()) % buckets
    engineered["label"] = int(row["late"])
    return engineered


def frequent(counts: list[tuple[str, int]], least: int) -> list[str]:
    """Returns the tokens with at least `least` rows, most frequent first."""
    return [t for t, n in sorted(counts, key=lambda c: (-c[1], c[0])) if n >= least]


def with_raw(row: Row, *fitted: Any) -> Row:
    """Returns the engineered and the raw columns of a row."""
    return engineer(row, *fitted) | {f"raw_{n}": row[n] for n in job.RAW}


def schema(raw: bool) -> pa.Schema:
    """Returns the columns of a split's files."""
    floats = [
        *job.STANDARDIZED,
        *(f"{n}_{f}" for n in ("departs", "season", "weekday") for f in ("sin", "cos")),
    ]
    ints = ["dep_delay_bucket", *job.VOCABULARIES, *job.CROSSES, "label"]
    fields = [(n, pa.float32()) for n in floats] + [(n, pa.int32()) for n in ints]
    kinds = {"int": pa.int64(), "string": pa.string(), "timestamp": pa.float64()}
    return pa.schema(fields + [(f"raw_{n}", kinds[job.TYPES[n]]) for n in job.RAW if raw])


def run(path: str, out: Path) -> None:
    """Does the whole job."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        lines = pipeline | beam.io.ReadFromText(path, skip_header_lines=1)
        rows = lines | "parse" >> beam.ParDo(Parse()).with_outputs("rejected", main="rows")
        _ = rows.rejected | "rejected" >> beam.io.WriteToText(str(out / "rejected"))
        splits = rows.rows | "split" >> beam.Partition(lambda row, _: row["split"], 3)
        for name, part in zip(job.SPLITS, splits, strict=True):
            sums = part | f"moments {name}" >> beam.CombineGlobally(Moments())
            _ = sums | f"statistics {name}" >> beam.io.WriteToText(str(out / f"statistics-{name}"))
            if name == "train":
                train, moments = part, beam.pvalue.AsSingleton(sums)
        edges = (
            train
            | "delays" >> beam.Map(lambda row: row["dep_delay"])
            | "quantiles" >> beam.transforms.stats.ApproximateQuantiles.Globally(33)
        )
        tokens = {
            name: beam.pvalue.AsSingleton(
                train
                | f"text {name}" >> beam.Map(lambda row, n=name: row[n])
                | f"count {name}" >> beam.combiners.Count.PerElement()
                | f"list {name}" >> beam.combiners.ToList()
                | f"frequent {name}" >> beam.Map(frequent, least)
            )
            for name, least in job.VOCABULARIES.items()
        }
        fitted = (moments, beam.pvalue.AsSingleton(edges))
        for name, part in zip(job.SPLITS, splits, strict=True):
            function = engineer if name == "train" else with_raw
            _ = (
                part
                | f"engineer {name}"
                >> beam.Map(
                    lambda row, m, e, a, b, c, f=function: f(
                        row, m, e[1:-1], {"carrier": a, "origin": b, "dest": c}
                    ),
                    *fitted,
                    tokens["carrier"],
                    tokens["origin"],
                    tokens["dest"],
                )
                | f"write {name}"
                >> beam.io.WriteToParquet(
                    str(out / name),
                    schema(name != "train"),
                    file_name_suffix=".parquet",
                    codec="snappy",
                )
            )


if __name__ == "__main__":
    source, target = sys.argv[1:]
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    measured(lambda: run(source, folder), lambda: job.outcome(folder))
