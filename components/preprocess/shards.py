"""The two passes over a range, and what they write: pure functions that the Beam steps call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.artifacts import sha256_of, write_json
from components.errors import QuatrainError, SourceError
from components.preprocess import audit, judging, summary
from components.preprocess.cleaning import Cleaner, Rules
from components.preprocess.conversion import TYPES
from components.preprocess.evidence import Evidence
from components.preprocess.reading import read_range
from components.preprocess.rejection import REJECTED, Block, Fault
from components.preprocess.sources import Range
from components.preprocess.splitting import assign, bad_split
from components.preprocess.summary import Summary, counted_columns
from components.spec.schema import SPLITS, ModelSpec
from trainer.features import LABEL, RAW_PREFIX, WEIGHT, Input, raw_inputs
from trainer.settings import TrainerError
from trainer.transform import Label, TextFormat, Transform, fit_features

SPILL = ".spill"
_SPLIT = "\0split"  # YAML holds no NUL, so no column of a spec has this name


@dataclass(frozen=True)
class Job:
    """What every worker needs to know.

    Attributes:
        spec: The model's spec.
        rules: Its cleaning rules; bound once, by the driver.
        folder: Where this attempt writes.
        n_shards: The number of ranges, so of shards of each split.
        window: What the manifest says of the source's window, if it has one.
    """

    spec: ModelSpec
    rules: Rules
    folder: str
    n_shards: int
    window: dict[str, Any] | None = None

    @cached_property
    def counted(self) -> tuple[Input, ...]:
        """The columns that have statistics."""
        return counted_columns(self.spec, self.rules.derived)

    @cached_property
    def raw_columns(self) -> tuple[str, ...]:
        """The columns that validation and test shards hold as read."""
        kept = {i.name for i in self.spec.inputs} | set(self.spec.evaluate.slices)
        return tuple(c.name for c in self.counted if c.name in kept)

    @cached_property
    def spilled(self) -> pa.Schema:
        """The columns between the two passes."""
        columns = [(c.name, TYPES[c.type]) for c in self.counted]
        return pa.schema([*columns, (_SPLIT, pa.int8())])

    def shard(self, stem: str, index: int) -> str:
        """Returns a shard's path in the artifact, as train-00000-of-00004.parquet."""
        return f"{stem}-{index:05d}-of-{self.n_shards:05d}.parquet"

    def spill_path(self, index: int) -> Path:
        """Returns where a range's cleaned rows wait for the second pass."""
        return Path(self.folder, SPILL, f"{index:05d}.arrow")


@dataclass(frozen=True)
class Fitted:
    """What the first pass decided: the transform, or why there is none.

    Attributes:
        transform: The text of transform.json.
        statistics: The content of statistics.json.
        manifest: The content of manifest.json, still without files.
        problem: Why the run stops; the rest is empty then.
    """

    transform: str = ""
    statistics: dict[str, Any] | None = None
    manifest: dict[str, Any] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Written:
    """Files of one range by their path in the artifact, and how many rows each holds."""

    digests: dict[str, str]
    rows: dict[str, int]


def clean_range(job: Job, span: Range, cleaner: Cleaner) -> Summary:
    """First pass: reads, cleans, splits and counts a range; spills the rows that are kept."""
    total = Summary()
    with ExitStack() as stack:
        spill = stack.enter_context(_spill_writer(job, span.index))
        rejected = stack.enter_context(_parquet_writer(_rejected_path(job, span.index), REJECTED))
        for block, split in cleaned_blocks(job, span, cleaner):
            total += summarize(job, span.index, block, split)
            batch = block.batch.select([c.name for c in job.counted])
            if batch.num_rows:
                spill.write_batch(batch.append_column(_SPLIT, split).cast(job.spilled))
            if block.rejected.num_rows:
                rejected.write_batch(block.rejected)
    return total


def cleaned_blocks(job: Job, span: Range, cleaner: Cleaner) -> Iterator[tuple[Block, pa.Array]]:
    """Yields blocks of the rows that some split takes, and their splits, `[N] int8`."""
    spec, n_dropped = job.spec, 0
    for read in read_range(span, spec.source, spec.columns, spec.spellings):
        block = cleaner.clean(read)
        split = assign(spec.split, block.batch)
        faults = [bad_split(spec.split, split)]
        if span.dropped:
            again = np.isin(block.good_positions.to_numpy(), span.dropped)
            faults.append(Fault.where(again, "duplicate", _kept_instead(spec)))
            split[again], n_dropped = -1, n_dropped + int(again.sum())
        yield block.without(faults), pa.array(split[split >= 0])
    if n_dropped != len(span.dropped):
        raise SourceError(
            f"{span.path} changed while the run read it; run again when it is at rest"
        )


def _kept_instead(spec: ModelSpec) -> str:
    """Says which row stays where another one is a duplicate."""
    rule = spec.clean.deduplicate
    if rule is None:
        return ""
    which = f"the newest by {rule.keep_newest_by}" if rule.keep_newest_by else "the first"
    return f"of the rows with its {', '.join(rule.keys)}, {which} is kept"


def summarize(job: Job, index: int, block: Block, split: pa.Array) -> Summary:
    """Counts a cleaned block of range `index`."""
    kept = replace(
        Summary.of_kept(block.batch, split, job.counted, job.spec.features),
        evidence=Evidence.of(job.spec, block.batch, split),
    )
    if not block.rejected.num_rows:
        return kept
    return kept + Summary.of_rejected(index, block.rejected)


def fit(job: Job, total: Summary) -> Fitted:
    """Judges the rows and fits the transform to the train split."""
    spec, derived = job.spec, job.rules.derived
    if problem := judging.run_problem(spec, derived, total):
        return Fitted(problem=problem)
    classes = judging.fitted_classes(spec, derived, total)
    try:
        features = fit_features(spec.features, total.splits["train"].columns)
    except TrainerError as error:
        return Fitted(problem=str(error))
    label, text = Label(spec.label, classes), _text_format(spec)
    transform = Transform(spec.task, label, spec.weight, spec.inputs, features, text)
    checks = audit.document(spec, derived, total)
    warnings = [*judging.warnings(spec, total, classes), *audit.findings(checks)]
    statistics = summary.document(total, spec, job.counted, warnings)
    return Fitted(
        transform.to_json(),
        {**statistics, "audit": checks},
        {
            "version": 1,
            "rows": total.rows,
            "reasons": {n: {"rows": r.rows, "sample": r.sample} for n, r in total.frequent},
            "spec": spec.sha256,
            "warnings": warnings,
        },
    )


def _text_format(spec: ModelSpec) -> TextFormat:
    """How the source is written; of columns that are not inputs nothing needs to be known."""
    source, inputs = spec.source, {i.name for i in spec.inputs}
    columns = {name: s for name, s in spec.spellings.items() if name in inputs}
    return TextFormat(
        source.nulls, source.delimiter, source.quoted_newlines, source.optional_keys, columns
    )


def engineer_range(job: Job, index: int, fitted: Fitted) -> Written:
    """Second pass: applies the transform to the spilled rows of a range and writes its shards."""
    transform = Transform.from_json(fitted.transform)
    schemas = {s: _shard_schema(job, transform, raw=s != "train") for s in SPLITS}
    rows = dict.fromkeys(SPLITS, 0)
    with ExitStack() as stack:
        writers = {
            s: stack.enter_context(_parquet_writer(Path(job.folder, job.shard(s, index)), schema))
            for s, schema in schemas.items()
        }
        for batch in _spilled(job, index):
            columns = _engineered(job, transform, batch)
            for i, name in enumerate(SPLITS):
                chosen = pc.equal(batch.column(_SPLIT), i)
                part = pa.table({c: columns[c] for c in schemas[name].names}).filter(chosen)
                rows[name] += part.num_rows
                if part.num_rows:
                    writers[name].write_table(part.cast(schemas[name]))
    paths = [*(job.shard(s, index) for s in SPLITS), f"rejected/{job.shard('rejected', index)}"]
    return Written({p: sha256_of(Path(job.folder, p)) for p in paths}, rows)


def write_documents(job: Job, fitted: Fitted, written: list[Written]) -> None:
    """Writes statistics.json and transform.json, and the manifest last.

    Raises:
        QuatrainError: The shards do not hold the rows that were counted.
    """
    folder = Path(job.folder)
    manifest = dict(fitted.manifest or {})
    for name in SPLITS:
        found, counted = sum(w.rows[name] for w in written), manifest["rows"][name]
        if found != counted:
            raise QuatrainError(f"{name} shards hold {found:,} rows, but {counted:,} were counted")
    digests = {path: digest for w in written for path, digest in w.digests.items()}
    write_json(folder / "statistics.json", fitted.statistics)
    (folder / "transform.json").write_text(fitted.transform, encoding="utf-8")
    for name in ("statistics.json", "transform.json"):
        digests[name] = sha256_of(folder / name)
    if job.window:
        manifest["window"] = job.window
    write_json(folder / "manifest.json", {**manifest, "files": dict(sorted(digests.items()))})


def _engineered(job: Job, transform: Transform, batch: pa.RecordBatch) -> dict[str, Any]:
    columns: dict[str, Any] = dict(transform.numpy(raw_inputs(batch, transform.inputs)))
    columns[LABEL] = _labels(batch.column(job.spec.label), transform)
    if job.spec.weight is not None:
        columns[WEIGHT] = batch.column(job.spec.weight).cast(pa.float32(), safe=False)
    return columns | {RAW_PREFIX + name: batch.column(name) for name in job.raw_columns}


def _labels(label: pa.Array, transform: Transform) -> pa.Array:
    """Class indices `[N] int32`, or for regression `[N] float32`."""
    if transform.task == "regression":
        return label.cast(pa.float32(), safe=False)
    classes = pa.array(transform.label.classes, pa.string())
    return pc.index_in(label.cast(pa.string()), classes)


def _shard_schema(job: Job, transform: Transform, *, raw: bool) -> pa.Schema:
    engineered = [
        pa.field(e.name, pa.float32() if e.cardinality is None else pa.int32(), nullable=False)
        for e in transform.engineered
    ]
    label = pa.float32() if transform.task == "regression" else pa.int32()
    own = [pa.field(LABEL, label, nullable=False)]
    if job.spec.weight is not None:
        own.append(pa.field(WEIGHT, pa.float32(), nullable=False))
    types = {c.name: TYPES[c.type] for c in job.counted}
    as_read = [pa.field(RAW_PREFIX + n, types[n]) for n in job.raw_columns] if raw else []
    return pa.schema([*engineered, *own, *as_read])


def _spill_writer(job: Job, index: int) -> pa.ipc.RecordBatchFileWriter:
    path = job.spill_path(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    return pa.ipc.new_file(str(path), job.spilled, options=options)


def _spilled(job: Job, index: int) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(job.spill_path(index))) as file:
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(use_threads=False))
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i)


def _rejected_path(job: Job, index: int) -> Path:
    return Path(job.folder, "rejected", job.shard("rejected", index))


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Opens a shard; the settings are fixed, so that the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    repeating = [f.name for f in schema if not pa.types.is_floating(f.type) and f.name != "row"]
    return pq.ParquetWriter(
        str(path),
        schema,
        version="2.6",
        data_page_version="1.0",
        compression="snappy",
        use_dictionary=repeating,
        write_statistics=False,
    )
