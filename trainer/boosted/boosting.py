"""Fits boosted trees with LightGBM, and reads them as arrays."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from itertools import chain, repeat
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..candidates import Candidate
from ..checkpoints import Epoch, Progress, Stopped
from ..examples import Split
from ..features.categories import least_rows
from ..importing import unnamed, without
from ..levels import count_levels, merge_few
from ..settings import MOST_TREES, Hyperparameters, TrainerError
from .model_text import read_model_text
from .start import probabilities, start_rows, start_scores
from .trees import LEAVES, Trees

if TYPE_CHECKING:
    import lightgbm

    from ..predictor import Head

log = logging.getLogger("trainer")
ROUNDS_AN_EPOCH = 10
"""Rounds between two computations of the losses, which take as long as a round."""
PATIENCE = 5
"""Epochs (50 rounds) without a better validation loss after which boosting stops."""
ALL_CORES = 0
MANY_ROWS = 100_000
"""Train rows from which all cores are used; with fewer, threads wait longer than they work."""
PARAMETERS: dict[str, Any] = {
    "num_leaves": LEAVES - 1,  # LightGBM's default
    "min_data_in_leaf": 5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    # With these two, the number of threads does not change the trees, which a test checks.
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
"""The parameters that differ from LightGBM's defaults; docs/decisions/0009 says why."""


WIDE, WIDE_BINS = 1_000, 63
"""With more columns, a number has fewer bins than LightGBM's 255. A leaf has a histogram of 16
bytes a bin: 31 leaves of 5 000 numbers took .6 GB, and finding their splits most of the time."""

MONOTONE: dict[str, Any] = {"monotone_constraints_method": "intermediate"}
"""The middle of LightGBM's three methods (Auguste, Malory & Smirnov 2020).

On 32 458 flights with two constraints the log-loss is .2645 with `basic`, .2634 with this and
without constraints, .2630 with `advanced`; the squared error is 292.5, 292.7, 289.3 and 294.2. Of
`advanced`, answers that break a constraint are reported (LightGBM's issues 5358 and 6155).
"""


@dataclass(frozen=True)
class Form:
    """How small the groups of categories may be that a tree tells apart.

    Attributes:
        name: Name of the candidate.
        parameters: LightGBM's parameters that make it.
        merges: Whether the levels of few rows are one (`trainer.levels`).
    """

    name: str
    parameters: Mapping[str, float]
    merges: bool = True


_SMALL_GROUPS = {"min_data_per_group": 20, "cat_smooth": 5, "cat_l2": 5, "lambda_l2": 1}
FORMS = (
    Form("trees", {"min_data_per_group": 100, "cat_smooth": 10, "cat_l2": 10}),
    Form("trees-20", _SMALL_GROUPS),
    Form("trees-20-all", _SMALL_GROUPS, merges=False),
)
"""The forms that the validation loss chooses from, with LightGBM's defaults first. No one of them
suits all tables: docs/decisions/0017 has the figures."""
ONE_HOT_LEVELS = 4
"""Up to this cardinality, LightGBM tries each level alone and needs none of the limits."""
LOSING = 3
"""Epochs in a row with a higher loss than the best form had by then, after which a form is given up
on. A form that wins leads nearly from the start."""
TELLING = 0.01
"""The share by which the loss must be lower with rare levels apart for a network to see them so."""
PROBE_TIME = 0.1
"""The share of `max_seconds` that the answer to that question may take."""
_OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}
_METRICS = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "l2"}


@dataclass(frozen=True)
class Boosted:
    """Fitted trees.

    Attributes:
        trees: The trees up to the best epoch. Their sums have the meaning of a network's outputs: a
            logit, a logit a class, or a standardized value.
        progress: The history of their form, in epochs of 10 rounds; a step is a round.
        stopped: What ended its boosting.
        candidates: All forms that were fitted.
        members: The boosters whose mean they are; the first is that of the form that was chosen.
        judged: The predictions of the validation rows by trees that have not seen these rows:
            class probabilities `[N, C] float64`, or labels `[N, 1]`.
    """

    trees: Trees
    progress: Progress
    stopped: Stopped
    candidates: tuple[Candidate, ...]
    members: tuple[Grown, ...]
    judged: np.ndarray

    @property
    def leader(self) -> Grown:
        """The first fit, which has not seen the validation rows."""
        return self.members[0]


def boost(
    train: Split,
    validation: Split,
    cardinalities: Sequence[int],
    head: Head,
    settings: Hyperparameters,
    report: Callable[[Epoch], None] = lambda epoch: None,
    threads: int | None = None,
    monotone: Sequence[int] = (),
    is_unwanted: Callable[[], bool] = lambda: False,
) -> Boosted:
    """Fits each form of trees that can matter, and returns the one with the least validation loss.

    A form grows until a bound is reached, its validation loss stops falling, or it falls behind the
    best form so far. All forms together keep to `settings.max_seconds`.

    Args:
        train: The rows to learn from.
        validation: The rows that decide when to stop, and which form is best.
        cardinalities: Cardinality of each index column.
        head: The task, and the mean and scale of a regression's labels.
        settings: The bounds, the shrinkage and the seed.
        report: Called after each epoch of the first form, and once more if another one wins.
        threads: Threads of LightGBM; None: all cores or one, by the number of rows. They change
            only the speed.
        monotone: For each number, whether the outputs must not fall (1) or rise (-1) where it
            rises; 0: neither.
        is_unwanted: Asked after each epoch whether to give up, since nobody waits for the trees.

    Raises:
        TrainerError: LightGBM is not installed, or a loss is not a number.
        CancelledError: The trees are unwanted.
    """
    if threads is None:
        threads = ALL_CORES if train.rows >= MANY_ROWS else 1
    counts = count_levels(train.indices, cardinalities)
    merged = merge_few(counts, least_rows(train.rows))
    deadline = time.monotonic() + settings.max_seconds if settings.max_seconds else math.inf
    data: Binned | None = None
    grown: list[Grown] = []
    for form in forms_for(counts, merged is not None):
        if grown and time.monotonic() >= deadline:
            break
        numbers = merged if form.merges else None
        if data is None or data.merged is not numbers:
            data = bin_rows(train, validation, numbers, head, settings, threads, monotone)
        leader = min(grown, key=best_loss, default=None)
        report_epoch = asking(is_unwanted, (lambda epoch: None) if grown else report)
        grown.append(grow_form(data, form, head, settings, deadline, leader, report_epoch))
    best = min(grown, key=best_loss)
    if best is not grown[0]:
        _report_winner(report, grown[0].progress, best.progress)
    trees = join_trees([best], train.numbers.shape[1], cardinalities, head.units)
    candidates = tuple(_candidate(g, validation, head) for g in grown)
    judged = predict_rows(best, validation, head)
    return Boosted(trees, best.progress, best.stopped, candidates, (best,), judged)


def rare_levels_tell(
    train: Split,
    validation: Split,
    cardinalities: Sequence[int],
    head: Head,
    settings: Hyperparameters,
) -> bool:
    """Returns whether trees learn more from all levels than from merged ones of few rows.

    Both are grown for the rounds after which a losing form would be given up on; False if no level
    has few rows, or if that takes more than `PROBE_TIME` of `settings.max_seconds`. One core takes
    .1 s for 3 000 rows, and 1 s for 60 000.

    Args:
        train: The rows to learn from.
        validation: The rows that decide.
        cardinalities: Cardinality of each index column.
        head: The task.
        settings: The shrinkage, the seed and the bound on seconds.

    Raises:
        TrainerError: LightGBM is not installed, or a loss is not a number.
    """
    counts = count_levels(train.indices, cardinalities)
    merged = merge_few(counts, least_rows(train.rows))
    if merged is None or len(forms_for(counts, True)) == 1:
        return False
    threads = ALL_CORES if train.rows >= MANY_ROWS else 1
    bounded = replace(settings, max_steps=LOSING * ROUNDS_AN_EPOCH)
    bound = settings.max_seconds
    deadline = time.monotonic() + PROBE_TIME * bound if bound else math.inf
    losses = []
    for form, numbers in ((FORMS[1], merged), (FORMS[2], None)):
        data = bin_rows(train, validation, numbers, head, bounded, threads, ())
        grown = grow_form(data, form, head, bounded, deadline, None, lambda epoch: None)
        if grown.stopped == "max_seconds":
            return False
        losses.append(grown.progress.best_loss)
    return losses[1] < losses[0] * (1.0 - TELLING)


def asking(
    is_unwanted: Callable[[], bool], report: Callable[[Epoch], None]
) -> Callable[[Epoch], None]:
    """Returns a report that ends the boosting once the trees are unwanted."""

    def report_or_end(epoch: Epoch) -> None:
        if is_unwanted():
            raise CancelledError
        report(epoch)

    return report_or_end


def forms_for(counts: Sequence[np.ndarray], has_merged: bool) -> tuple[Form, ...]:
    """Returns the forms that can differ on these train rows, the first one always.

    Smaller groups can where a column that LightGBM groups has a level with fewer rows than the
    first form's smallest group; to keep all levels apart can where some would be merged.

    Args:
        counts: Train rows of each level, `[cardinality]` for each index column.
        has_merged: Whether some levels have so few rows that forms merge them.
    """
    least = FORMS[0].parameters["min_data_per_group"]
    grouped = [rows for rows in counts if len(rows) > ONE_HOT_LEVELS]
    if not any(((rows > 0) & (rows < least)).any() for rows in grouped):
        return FORMS[:1]
    return tuple(form for form in FORMS if form.merges or has_merged)


@dataclass(frozen=True, eq=False)
class Grown:
    """A form's booster, and how its boosting went."""

    form: Form
    data: Binned
    booster: lightgbm.Booster
    progress: Progress
    stopped: Stopped

    @property
    def rounds(self) -> int:
        """Rounds of the best epoch."""
        return self.progress.history[self.progress.best_epoch - 1].step


def best_loss(grown: Grown) -> float:
    """Returns the least validation loss of a form."""
    return grown.progress.best_loss


def grow_form(
    data: Binned,
    form: Form,
    head: Head,
    settings: Hyperparameters,
    deadline: float,
    leader: Grown | None,
    report: Callable[[Epoch], None],
) -> Grown:
    """Grows one form until a bound is reached, it stops improving, or it loses to the leader."""
    (grown,) = grow_together([data], form, head, settings, deadline, leader, report)
    log.info(
        "%s: %d rounds, best %d, validation loss %.5f, %.1f s",
        *(form.name, grown.progress.steps, grown.rounds),
        *(grown.progress.best_loss, grown.progress.seconds),
    )
    return grown


def grow_together(
    data: Sequence[Binned],
    form: Form,
    head: Head,
    settings: Hyperparameters,
    deadline: float,
    leader: Grown | None,
    report: Callable[[Epoch], None],
) -> list[Grown]:
    """Grows a form on several sets of rows for the same rounds, by the mean of their losses."""
    boosters = [rows.booster(form) for rows in data]
    rounds = most_rounds(settings, head.units)
    if settings.max_steps:
        rounds = min(rounds, settings.max_steps)
    started, progress, n_behind = time.monotonic(), Progress(), 0
    stopped: Stopped | None = None
    while stopped is None:
        more = min(ROUNDS_AN_EPOCH, rounds - progress.steps)
        finished = [grow_rounds(booster, more) for booster in boosters]
        now = time.monotonic()
        epoch = _epoch(boosters, progress.epochs + 1, head.loss_unit, now - started)
        progress = progress.add(epoch)
        report(epoch)
        n_behind = n_behind + 1 if leader and _is_behind(epoch, leader.progress) else 0
        if all(finished) or n_behind >= LOSING:
            stopped = "early_stopping"
        else:
            stopped = _stopped(settings, progress, rounds, now >= deadline)
    return [Grown(form, *own, progress, stopped) for own in zip(data, boosters, strict=True)]


def _is_behind(epoch: Epoch, leader: Progress) -> bool:
    """Returns whether a loss is above the leader's after as many rounds, or above its best."""
    if epoch.epoch > leader.epochs:
        return epoch.validation_loss > leader.best_loss
    return epoch.validation_loss > leader.history[epoch.epoch - 1].validation_loss


def _report_winner(report: Callable[[Epoch], None], first: Progress, winner: Progress) -> None:
    """Reports the best loss of another form as one more epoch: tuning reads the last report."""
    last, best = first.history[-1], winner.history[winner.best_epoch - 1]
    report(replace(best, epoch=last.epoch + 1, step=last.step + best.step))


def predict_rows(grown: Grown, split: Split, head: Head) -> np.ndarray:
    """Returns LightGBM's predictions: class probabilities `[N, C] float64`, or labels `[N, 1]`."""
    columns, start = _columns(split, grown.data.merged), grown.data.start
    outputs = grown.booster.predict(
        columns, num_iteration=grown.rounds, num_threads=1, raw_score=start is not None
    )
    if start is not None:
        outputs = probabilities(np.asarray(outputs), start)
    if head.task == "regression":
        return np.asarray(outputs)[:, None] * head.scale + head.mean
    if head.task == "binary":
        return np.stack([1.0 - np.asarray(outputs), np.asarray(outputs)], axis=1)
    return np.asarray(outputs)


def _candidate(grown: Grown, validation: Split, head: Head) -> Candidate:
    """Returns the record of a form, with its loss on each validation row."""
    progress = grown.progress
    rows = head.row_losses(predict_rows(grown, validation, head), validation.labels)
    return Candidate(
        grown.form.name, progress.best_loss, progress.seconds, progress.steps, row_losses=rows
    )


def join_trees(
    members: Sequence[Grown], n_numbers: int, cardinalities: Sequence[int], units: int
) -> Trees:
    """Returns the mean of boosters as arrays: the trees of all, with their leaves shrunken.

    Args:
        members: Fitted to numbers, followed by index columns as categorical features; they merge
            the same levels.
        n_numbers: Number of columns that are numbers.
        cardinalities: Cardinality of each index column.
        units: Trees of a round.
    """
    levels = members[0].data.merged
    n_levels = cardinalities if levels is None else [int(column.max()) + 1 for column in levels]
    trees = []
    for member in members:
        text = member.booster.model_to_string(num_iteration=member.rounds)
        start = [] if member.data.start is None else member.data.start.tolist()
        starts = chain(start, repeat(0.0))  # only the first trees add it
        for (nodes, leaves), first in zip(read_model_text(text), starts, strict=False):
            trees.append((nodes, [(value + first) / len(members) for value in leaves]))
    joined = Trees.of(trees, n_numbers, n_levels, units)
    return joined if levels is None else joined.renumbered(levels)


def most_rounds(settings: Hyperparameters, units: int) -> int:
    """Returns the bound on rounds: `settings.rounds`, or fewer so that serving stays fast.

    With a tree a unit in each round, `MOST_TREES` bounds the trees of all units.
    """
    return max(ROUNDS_AN_EPOCH, min(settings.rounds, MOST_TREES // units))


@dataclass(frozen=True, eq=False)
class Binned:
    """The rows as LightGBM bins them, once for all forms that merge levels or for all that do not.

    Attributes:
        train: The train rows.
        validation: The validation rows; None: nothing judges the trees.
        parameters: The parameters of every form.
        merged: The number of each level, `[cardinality]` for each index column; None: its index.
        start: The scores from which boosting starts, `[units]`, which are in no tree; None:
            LightGBM's own, which are in the first ones.
    """

    train: lightgbm.Dataset
    validation: lightgbm.Dataset | None
    parameters: Mapping[str, Any]
    merged: Sequence[np.ndarray] | None
    start: np.ndarray | None

    def booster(self, form: Form, parameters: Mapping[str, Any] | None = None) -> lightgbm.Booster:
        """Returns a booster without trees, with its own parameters or others."""
        import lightgbm

        own = {**(self.parameters if parameters is None else parameters), **form.parameters}
        booster = lightgbm.Booster(own, self.train)
        if self.validation is None:
            return booster
        return booster.add_valid(self.validation, "validation")


def import_lightgbm() -> ModuleType:
    """Imports LightGBM when it is needed: it imports scipy, for which a network need not wait.

    Raises:
        TrainerError: It cannot be imported.
    """
    try:
        with without(unnamed()):
            import lightgbm
    except (ImportError, OSError) as error:
        raise TrainerError(
            f"LightGBM, which fits the trees, cannot be imported ({error}); install lightgbm and "
            "Debian's libgomp1, or use --model=tabm"
        ) from error
    return lightgbm


def bin_rows(
    train: Split,
    validation: Split,
    merged: Sequence[np.ndarray] | None,
    head: Head,
    settings: Hyperparameters,
    threads: int,
    monotone: Sequence[int],
) -> Binned:
    """Returns the train and validation rows in LightGBM's form."""
    lightgbm = import_lightgbm()
    parameters = {
        **PARAMETERS,
        "objective": _OBJECTIVES[head.task],
        "metric": _METRICS[head.task],
        "num_class": head.units,
        "learning_rate": settings.shrinkage,
        "seed": settings.seed,
        "num_threads": threads,
    }
    n_numbers, n_indices = train.numbers.shape[1], train.indices.shape[1]
    if is_wide(train):
        parameters["max_bin_by_feature"] = [WIDE_BINS] * n_numbers + [255] * n_indices
    if any(monotone):
        free = [0] * n_indices
        parameters |= {**MONOTONE, "monotone_constraints": [*monotone, *free]}
    start = start_scores(train.labels, train.weights, len(head.classes))
    rows = _dataset(lightgbm.Dataset, train, merged, head, parameters, start)
    validation_rows = _dataset(
        lightgbm.Dataset, validation, merged, head, parameters, start, reference=rows
    )
    return Binned(rows, validation_rows, parameters, merged, start)


def train_rows(rows: Split, first: Binned, head: Head) -> Binned:
    """Returns rows for trees like those of earlier ones, with nothing that judges them."""
    lightgbm, parameters = import_lightgbm(), dict(first.parameters)
    start = start_scores(rows.labels, rows.weights, len(head.classes))
    data = _dataset(lightgbm.Dataset, rows, first.merged, head, parameters, start)
    return Binned(data, None, parameters, first.merged, start)


def is_wide(split: Split) -> bool:
    """Returns whether rows have so many columns that these bound the memory and the time."""
    return split.numbers.shape[1] + split.indices.shape[1] > WIDE


def _columns(split: Split, merged: Sequence[np.ndarray] | None) -> np.ndarray:
    """Returns numbers, then the numbers of the levels, `[N, F + K] float32`."""
    n_numbers = split.numbers.shape[1]
    columns = np.empty((split.rows, n_numbers + split.indices.shape[1]), np.float32)
    columns[:, :n_numbers] = split.numbers
    for place, index in enumerate(split.indices.T):
        columns[:, n_numbers + place] = index if merged is None else merged[place][index]
    return columns


def _dataset(
    make: Callable[..., lightgbm.Dataset],
    split: Split,
    merged: Sequence[np.ndarray] | None,
    head: Head,
    parameters: dict[str, Any],
    start: np.ndarray | None,
    **more: Any,
) -> lightgbm.Dataset:
    """Returns the rows as LightGBM's dataset: numbers, then indices as categorical features."""
    labels = split.labels.astype(np.float32)
    if head.task == "regression":
        labels = (labels - np.float32(head.mean)) / np.float32(head.scale)
    # Scaled to mean 1, so that LightGBM's least weight of a leaf does not depend on their unit.
    weights = split.weights * (split.rows / split.weights.sum(dtype=np.float64))
    columns = _columns(split, merged)
    n_numbers, n_columns = split.numbers.shape[1], columns.shape[1]
    return make(
        columns,
        labels,
        weight=weights.astype(np.float32),
        init_score=start_rows(start, split.rows),
        categorical_feature=list(range(n_numbers, n_columns)),
        params=parameters,
        **more,
    )


def grow_rounds(booster: lightgbm.Booster, rounds: int) -> bool:
    """Adds trees, and returns whether LightGBM found no further split, so boosting should end."""
    return any(booster.update() for _ in range(rounds))


def _epoch(boosters: Sequence[lightgbm.Booster], number: int, unit: float, seconds: float) -> Epoch:
    """Returns the history's line for the trees so far: the mean losses of the boosters.

    Raises:
        TrainerError: A loss is not a number.
    """
    losses = np.array([(b.eval_train()[0][2], b.eval_valid()[0][2]) for b in boosters])
    loss, validation_loss = (float(mean) * unit for mean in losses.mean(axis=0))
    step = boosters[0].current_iteration()
    if not np.isfinite([loss, validation_loss]).all():
        raise TrainerError(
            f"the losses of the trees are {loss} on the train and {validation_loss} on the "
            f"validation split after {step} rounds; look for extreme labels"
        )
    return Epoch(number, step, loss, validation_loss, round(seconds, 3))


def _stopped(
    settings: Hyperparameters, progress: Progress, rounds: int, is_late: bool
) -> Stopped | None:
    """Returns what ends the boosting now, or None if it goes on."""
    if progress.steps >= rounds:
        return "max_steps" if 0 < settings.max_steps <= progress.steps else "epochs"
    if is_late:
        return "max_seconds"
    return "early_stopping" if progress.since_best >= PATIENCE else None
