"""Checks a spec against its data, as far as a sample of the rows shows it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice
from operator import add

from quatrain.components.errors import QuatrainError
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.checks import split_problems
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.kept_rows import read_kept_rows
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.preprocess.summary.summary import Summary
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.split import SPLITS
from quatrain.components.table.files import find_files
from quatrain.components.table.range import Range
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.wording import counted

SAMPLE_BYTES = 1 << 20
SAMPLE_RANGES = 8
"""The sample is up to 8 MB in eight places: a file sorted by its label still shows its classes."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        problems: Sentences about everything that would stop a run; empty if nothing would.
        warnings: Sentences about oddities that would not stop a run.
        sample: The summary of the sampled rows; None if no rows could be read.
    """

    problems: list[str]
    warnings: list[str]
    sample: Summary | None


def check(
    spec: ModelSpec,
    at: datetime.datetime | None = None,
    sample_bytes: int = SAMPLE_BYTES,
) -> CheckResult:
    """Returns everything that would stop a run, as far as a sample of the rows shows it.

    Expressions, types and headers are checked in full. Values, shares of bad rows and labels are
    checked in up to eight places of the source, evenly spread.

    Args:
        spec: The model.
        at: The time of the run, at which a window of the source ends; by default now.
        sample_bytes: The size of each place.
    """
    rules = rules_of(spec)
    findings = rules.problems or list(split_problems.spec_problems(spec, rules.derived))
    try:
        files = find_files(spec.source, at or datetime.datetime.now(datetime.UTC))
        ranges = plan_ranges(spec.source, spec.columns, sample_bytes, files.listing, spec.spellings)
        if findings:
            return CheckResult(findings, [], None)
        job = PreprocessJob(spec, rules, Folder(""), len(ranges))
        sample, is_whole = _sample(job, [ranges[i] for i in _spread(len(ranges))])
    except QuatrainError as error:
        return CheckResult([*findings, str(error)], [], None)
    problems, warnings = _sample_problems(spec, rules.derived, sample), []
    if not problems and is_whole:
        whole = split_problems.run_problem(spec, rules.derived, sample)
        problems += [whole] if whole else []
        problems += split_problems.class_weight_problems(spec, rules.derived, sample)
    elif empty := [s for s in SPLITS if not sample.rows[s]]:
        warnings.append(
            f"no row of the sample falls to {' or '.join(empty)}; a run stops where none does"
        )
    return CheckResult(problems, [*split_problems.leak_warnings(spec), *warnings], sample)


def _spread(n: int) -> list[int]:
    """Returns up to eight indices below `n`, evenly spread."""
    return sorted({i * n // SAMPLE_RANGES for i in range(SAMPLE_RANGES)}) if n else []


def _sample(job: PreprocessJob, ranges: list[Range]) -> tuple[Summary, bool]:
    """Returns the summary of the first block of each range, and whether these are all rows."""
    cleaner, total, is_whole = Cleaner(job.rules), Summary(), len(ranges) == job.n_shards
    for span in ranges:
        blocks = read_kept_rows(job.spec, span, cleaner)
        for block in islice(blocks, 1):
            total += passes.summarize(job, span.index, block)
        # A range that cannot be cut, like a compressed file, may have further blocks.
        is_whole = is_whole and next(blocks, None) is None
    return total, is_whole


def _sample_problems(spec: ModelSpec, derived: dict[str, str], sample: Summary) -> list[str]:
    """Returns the problems of the sampled rows, as if all of them were the train split."""
    if not sample.read:
        return [f"{', '.join(spec.source.uri)}: there are no rows, only headers"]
    where = f"in a sample of {counted(sample.read, 'row')}"
    if rejected := split_problems.too_many_rejected(spec, sample):
        return [f"{where}: {rejected}"]
    whole = reduce(add, sample.splits.values())
    as_train = replace(sample, splits=dict.fromkeys(SPLITS, whole))
    return split_problems.table_problems(spec, derived, as_train, where)
