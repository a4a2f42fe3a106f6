"""Writes the section of docs/benchmarks.md on preprocessing from the measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.measuring import Case, Measurement, Results, machine, median, table, write_section

Extra = tuple[Case, str, str]


def write(
    results: Results, cases: Sequence[Case], extras: Sequence[Extra], sizes: Sequence[str]
) -> None:
    """Writes the section; numbers without a measurement are marked as such."""
    runs = {(c.name, s): results.of(c, s) for s in sizes for c in cases}
    runs |= {(c.name, s): results.of(c, s) for c, s, _ in extras}
    every = [run for of_case in runs.values() for run in of_case]
    text = f"""## Preprocessing

Each case does the flights job of [flights.yaml](../examples/flights/flights.yaml), from one CSV
file to its shards: reject, label, split, statistics, fit, engineer, write. The table is the 336 776
flights, repeated 1, 10 and 30 times, with jitter, and one row in 10 000 is wrong. CPU-seconds
are the user and system time of the process and its children after its imports, by getrusage. The
peak is the largest resident set, imports included. Each process is pinned to one core, unless its
row says otherwise. The figures are medians of runs that take turns. A case whose code has not
changed keeps its earlier runs, so the runs of a peer may be some hours older than ours. `busy` is
the median share of all cores that were busy during a run, with the work of any process. On a shared
machine, CPU-seconds grow with `busy`, so compare rows with the same load.

{machine()}; {_dates(every)}. `make bench ROWS=0.34M` runs a single size.

{_measurements(runs, cases, sizes)}

All cases of one size must agree on the number of rows in each split and on the mean of two columns
of the test split:
{_agreement(runs, cases, sizes)}

{table(("target", "bound", "measured", "met"), _targets(runs))}

{_differences(cases)}
"""
    write_section("preprocessing", text)


Runs = dict[tuple[str, str], list[Measurement]]


def _measurements(runs: Runs, cases: Sequence[Case], sizes: Sequence[str]) -> str:
    """Returns the table of the measurements, with the cases of a single size last."""
    rows = []
    for case in cases:
        for size in sizes:
            if of_case := runs[case.name, size]:
                rows.append(_row(case.name, size, of_case))
    rows += [
        _row(name, size, of_case)
        for (name, size), of_case in runs.items()
        if of_case and name not in {c.name for c in cases}
    ]
    return table(("what", "rows", "CPU-s", "from - to", "wall s", "peak MB", "busy", "runs"), rows)


def _row(name: str, size: str, of_case: list[Measurement]) -> tuple[str, ...]:
    cpu = [r.cpu_s for r in of_case]
    wall, peak = median(r.wall_s for r in of_case), median(r.peak_mb for r in of_case)
    spread, busy = f"{min(cpu):.2f} - {max(cpu):.2f}", median(r.busy for r in of_case)
    numbers = (f"{median(cpu):.2f}", spread, f"{wall:.2f}", f"{peak:.0f}", f"{busy:.0%}")
    return name, size, *numbers, str(len(of_case))


def _agreement(runs: Runs, cases: Sequence[Case], sizes: Sequence[str]) -> str:
    """Says for each size whether all cases have the same results."""
    sentences = []
    for size in sizes:
        outcomes = {str(r.outcome) for c in cases for r in runs[c.name, size]}
        n = len([c for c in cases if runs[c.name, size]])
        rows = ("train", "validation", "test")
        counts = {str({k: r.outcome[k] for k in rows}) for c in cases for r in runs[c.name, size]}
        if len(outcomes) == 1:
            sentences.append(f"{size}: all {n} agree.")
        elif len(counts) == 1:
            sentences.append(f"{size}: all {n} agree on rows; approximate statistics shift means.")
        elif outcomes:
            sentences.append(f"{size}: they do NOT agree: {sorted(counts)}.")
    return " ".join(sentences)


def _targets(runs: Runs) -> Iterator[tuple[str, ...]]:
    """Yields a row for each target: what is measured, its bound, the figure, and if it is met."""

    def cpu(name: str, size: str) -> float:
        return median(r.cpu_s for r in runs.get((name, size), []))

    def least(what: str, bound: float, value: float, unit: str = " times") -> tuple[str, ...]:
        return _target(what, f"at least {bound:g}{unit}", value, value >= bound)

    def most(what: str, bound: float, value: float, unit: str = "") -> tuple[str, ...]:
        return _target(what, f"at most {bound:g}{unit}", value, value <= bound)

    ours = {size: cpu("quatrain", size) for size in ("0.34M", "3.4M", "10M")}
    for size, bound in (("0.34M", 25), ("3.4M", 35)):
        ratio = cpu("tensorflow-transform", size) / ours[size]
        yield least(f"tensorflow-transform / ours, {size}", bound, ratio)
    for size, bound in (("3.4M", 0.9), ("10M", 1.2)):
        yield least(f"polars, eager / ours, {size}", bound, cpu("polars, eager", size) / ours[size])
    kernels = cpu("quatrain, no Beam", "3.4M")
    yield least("our kernels without Beam / ours, 3.4M", 0.8, kernels / ours["3.4M"])
    peaks = [median(r.peak_mb for r in runs["quatrain", s]) for s in ours if runs["quatrain", s]]
    yield most("peak of one worker, any size", 400, max(peaks, default=float("nan")), " MB")
    fixed = cpu("quatrain, 40 rows", "40") - cpu("quatrain, no Beam, 40 rows", "40")
    yield most("Beam's fixed cost per run (with and without Beam, 40 rows)", 0.6, fixed, " CPU-s")
    clean = cpu("quatrain, clean file", "3.4M")
    yield most("dirty / clean file, 3.4M", 1.4, ours["3.4M"] / clean)
    one, every = (runs.get((name, "10M"), []) for name in _WORKERS)
    walls = [median(r.wall_s for r in of_case) for of_case in (one, every)]
    yield least("wall of one worker / of all cores, 10M", 1.5, walls[0] / walls[1])
    yield most("peak of all cores, 10M", 600, median(r.peak_mb for r in every), " MB")
    low = (ours["3.4M"] - ours["0.34M"]) / 9
    high = (ours["10M"] - ours["3.4M"]) / 20
    yield most("change of the cost per row, 0.34-3.4M to 3.4-10M", 0.1, abs(high / low - 1))


_WORKERS = ("quatrain, 1 worker, not pinned", "quatrain, all cores, not pinned")


def _target(what: str, bound: str, value: float, met: bool) -> tuple[str, ...]:
    if value != value:
        return what, bound, "not measured", "-"
    return what, bound, f"{value:.2f}", "yes" if met else "**no**"


def _differences(cases: Sequence[Case]) -> str:
    lines = [
        f"- **{c.name}**{' with ' + ', '.join(c.requirements) if c.requirements else ''}: "
        f"`{c.script}`{'; differences: ' + c.leaves_out if c.leaves_out else ''}."
        for c in cases
    ]
    return "The scripts, and where a peer's job differs from ours:\n\n" + "\n".join(lines)


def _dates(every: Sequence[Measurement]) -> str:
    times = sorted(run.at for run in every)
    return f"measured from {times[0]} to {times[-1]} UTC" if times else "nothing was measured"
