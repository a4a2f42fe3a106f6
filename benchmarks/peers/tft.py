"""The flights job by tensorflow-transform in its canonical form: `tft.py INPUT OUT`.

It follows the library's census example: lines are repaired and filtered in Python, decoded by
tfx_bsl's CSV coder to Arrow batches, analyzed and transformed by a `preprocessing_fn`, and written
as tf.Example in TFRecord files beside the transform function. The CSV coder ends the run at a value
that is not an integer, so the filter of the lines holds the rules, like `FixCommas` in the example.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio

from benchmarks.measuring import measured
from benchmarks.peers import job

USED = {
    "month": tf.int64,
    "sched_dep_time": tf.int64,
    "dep_delay": tf.int64,
    "sched_arr_time": tf.int64,
    "arr_delay": tf.int64,
    "carrier": tf.string,
    "origin": tf.string,
    "dest": tf.string,
    "distance": tf.int64,
    "hour": tf.int64,
    "time_hour": tf.string,
}
INTEGERS = dict.fromkeys(job.NAMES, tf.int64) | dict.fromkeys(
    ("carrier", "tailnum", "origin", "dest", "time_hour"), tf.string
)
SCHEMA = tft.DatasetMetadata.from_feature_spec(
    {n: tf.io.VarLenFeature(INTEGERS[n]) for n in job.NAMES}
).schema
SIDES = {(m, d): side for m, d, side in zip(*job.DAYS, strict=True)}


def repaired(line: str) -> str:
    """Empties the cells that are NA: for the CSV coder, only an empty cell is missing."""
    return line.replace(",NA", ",")


def is_accepted(line: str) -> bool:
    """Returns whether a row is complete, has left and has arrived."""
    cells = line.split(",")
    return len(cells) == len(job.NAMES) and _is_int(cells[3]) and _is_int(cells[8])


def _is_int(cell: str) -> bool:
    return cell.lstrip("-").isdigit()


def side_of(line: str, _: int) -> int:
    """Returns the split of a row's day."""
    _, month, day, _ = line.split(",", 3)
    return SIDES[int(month), int(day)]


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the features of flights.yaml."""
    dense = {
        n: tf.squeeze(tf.sparse.to_dense(inputs[n], "" if t == tf.string else -(10**6)), 1)
        for n, t in USED.items()
    }
    known = tf.not_equal(dense["dep_delay"], -(10**6))
    features: dict[str, Any] = {}
    for name in job.STANDARDIZED:
        features[name] = tft.scale_to_z_score(tf.cast(dense[name], tf.float32))
    bucket = tf.cast(tft.bucketize(dense["dep_delay"], 32), tf.int64)
    features["dep_delay_bucket"] = tf.where(known, bucket + 1, 0)
    for name, turns in (
        ("departs", tf.cast(dense["hour"], tf.float32) / 24),
        ("season", tf.cast(dense["month"], tf.float32) / 12),
        ("weekday", tf.cast(_weekday(dense["time_hour"]), tf.float32) / 7),
    ):
        angle = turns * 6.283185307179586
        features[f"{name}_sin"], features[f"{name}_cos"] = tf.sin(angle), tf.cos(angle)
    for name, least in job.VOCABULARIES.items():
        features[name] = tft.compute_and_apply_vocabulary(
            dense[name], frequency_threshold=least, num_oov_buckets=1, vocab_filename=name
        )
    for name, (parts, buckets) in job.CROSSES.items():
        texts = [dense[p] if dense[p].dtype == tf.string else tf.as_string(dense[p]) for p in parts]
        joined = tf.strings.join(texts, separator="\x1f")
        features[name] = tf.strings.to_hash_bucket_fast(joined, buckets) + 1
    features["label"] = tf.cast(dense["arr_delay"] >= 15, tf.int64)
    return features


def _weekday(text: tf.Tensor) -> tf.Tensor:
    """Returns the day of the week, Monday is 0, by Sakamoto's method."""
    year, month, day = (
        tf.strings.to_number(tf.strings.substr(text, at, n), tf.int32)
        for at, n in ((0, 4), (5, 2), (8, 2))
    )
    year = year - tf.cast(month < 3, tf.int32)
    shift = tf.gather(tf.constant([0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4]), month - 1)
    return (year + year // 4 - year // 100 + year // 400 + shift + day + 6) % 7


def run(path: str, out: Path) -> None:
    """Does the whole job."""
    options = PipelineOptions([], runner="FnApiRunner")
    temporary = tempfile.mkdtemp(dir=out.parent)
    with (
        beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline,
        tft_beam.Context(temp_dir=temporary),
    ):
        lines = (
            pipeline
            | beam.io.ReadFromText(path, skip_header_lines=1)
            | "repair" >> beam.Map(repaired)
            | "clean" >> beam.Filter(is_accepted)
            | "split" >> beam.Partition(side_of, 3)
        )
        csv = tfxio.BeamRecordCsvTFXIO(
            physical_format="text",
            column_names=job.NAMES,
            schema=SCHEMA,
            telemetry_descriptors=["b"],
        )
        decoded = [
            part | f"decode {name}" >> beam.Map(str.encode) | f"batch {name}" >> csv.BeamSource()
            for name, part in zip(job.SPLITS, lines, strict=True)
        ]
        config = csv.TensorAdapterConfig()
        train, fn = (decoded[0], config) | tft_beam.AnalyzeAndTransformDataset(
            preprocessing_fn, output_record_batches=True
        )
        fn | tft_beam.WriteTransformFn(str(out / "transform"))
        others = [
            ((part, config), fn)
            | f"transform {n}" >> tft_beam.TransformDataset(output_record_batches=True)
            for n, part in zip(job.SPLITS[1:], decoded[1:], strict=True)
        ]
        for name, (data, metadata) in zip(job.SPLITS, [train, *others], strict=True):
            encoder = RecordBatchToExamplesEncoder(metadata.schema)
            _ = (
                data
                | f"encode {name}" >> beam.FlatMapTuple(lambda b, _, e=encoder: e.encode(b))
                | f"write {name}"
                >> beam.io.WriteToTFRecord(str(out / name), file_name_suffix=".tfrecord")
            )
    shutil.rmtree(temporary)


def outcome(out: Path) -> dict[str, Any]:
    """Returns the rows of each split, and the means of two columns of the test split."""
    values: dict[str, Any] = {}
    sums = {"dep_delay": 0.0, "label": 0.0}
    spec = {"dep_delay": tf.io.FixedLenFeature([], tf.float32)}
    spec["label"] = tf.io.FixedLenFeature([], tf.int64)
    for split in job.SPLITS:
        files = sorted(str(f) for f in out.glob(f"{split}*.tfrecord"))
        values[split] = 0
        for batch in tf.data.TFRecordDataset(files).batch(10_000):
            values[split] += len(batch)
            if split == "test":
                parsed = tf.io.parse_example(batch, spec)
                for name in sums:
                    sums[name] += float(tf.reduce_sum(tf.cast(parsed[name], tf.float64)))
    return values | {f"test_{n}": round(v / values["test"], 4) for n, v in sums.items()}


if __name__ == "__main__":
    source, target = sys.argv[1:]
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    measured(lambda: run(source, folder), lambda: outcome(folder))
