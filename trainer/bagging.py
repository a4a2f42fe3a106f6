"""`quality: high`: models of all train rows and bags of those of folds, weighted greedily."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from .boosted.blend import fit_parts, fit_trees, judged, predictions
from .candidates import Candidate, choose
from .examples import Split
from .job import Outputs
from .network import fit_network
from .predictor import Fitting, Head, Predictor
from .settings import SEEDS, TrainerError

log = logging.getLogger("trainer")
FOLDS = 5
"""Parts of the train rows; a model is fitted without each, which decides when it stops."""
PICKS = 20
"""Most picks of the greedy selection, and so the finest share is a twentieth."""

PARTS: dict[str, Callable[[Fitting], tuple[Predictor | None, ...]]] = {
    "auto": fit_parts,
    "blend": fit_parts,
    "tabm": lambda fitting: (fit_network(fitting),),
    "linear": lambda fitting: (fit_network(fitting),),
    "trees": lambda fitting: (fit_trees(fitting),),
}
"""The function that fits the parts of each `settings.model`."""


@dataclass(frozen=True, eq=False)
class _Group:
    """Models of a kind whose mean prediction gets a share: one of all rows, or those of the folds.

    Attributes:
        name: Name of its candidate.
        members: The models.
        predicted: Their mean prediction of the validation rows.
    """

    name: str
    members: Sequence[Predictor]
    predicted: np.ndarray


def fit_bag(fitting: Fitting, folds: np.ndarray) -> Predictor:
    """Fits the parts of a model to all train rows, and again without each fold.

    A model without a fold stops by the rows of that fold. The validation rows, which no such model
    has seen, choose the shares. Under `max_seconds`, each fit gets an equal part of the time that
    is left, and folds for which none is left are left out.

    Args:
        fitting: The input; both splits must be in memory.
        folds: The fold of each train row, as of `fold_rows`.

    Raises:
        TrainerError: There are several workers, the rows are streamed, or a part cannot be fitted.
    """
    if fitting.cluster.has_workers:
        raise TrainerError(
            "quality high needs all rows in memory of one machine, and this job has several; "
            "choose a tier of one replica, or leave out train.quality"
        )
    _, validation = fitting.splits
    held = [folds == fold for fold in np.unique(folds)]
    bound = fitting.job.settings.max_seconds
    deadline = time.monotonic() + bound
    fits: list[tuple[Predictor, ...]] = []
    for number in range(1 + len(held)):
        own = fitting if not number else _without(fitting, held[number - 1], number)
        left = (deadline - time.monotonic()) / (1 + len(held) - number) if bound else 0.0
        if number and bound and left <= 0:
            log.info("max_seconds is over before fold %d of %d", number, len(held))
            break
        settings = replace(own.job.settings, max_seconds=max(left, 1e-3) if bound else 0.0)
        own = replace(own, job=replace(own.job, settings=settings))
        parts = PARTS[settings.model](own)
        fits.append(tuple(part for part in parts if part is not None))
    groups = [_Group(_name(p), [p], judged(p, validation)) for p in fits[0]]
    for part in zip(*fits[1:], strict=True):
        mean = np.stack([predictions(p, validation) for p in part]).mean(axis=0)
        groups.append(_Group(f"{next(iter(part[0].shares))}-folds", part, mean))
    shares = pick_greedily([g.predicted for g in groups], fitting.head, validation)
    named = zip(groups, shares, strict=True)
    log.info("shares: %s", ", ".join(f"{group.name} {share:.2f}" for group, share in named))
    return _bagged(groups, shares, fitting.head, validation)


def _without(fitting: Fitting, held: np.ndarray, number: int) -> Fitting:
    """Returns the fitting of the models without a fold, which says when they stop."""
    job, (train, _) = fitting.job, fitting.splits
    outputs, settings = job.outputs, job.settings
    folder = f"fold-{number}"
    own = replace(
        job,
        settings=replace(settings, seed=(settings.seed + number) % SEEDS),
        outputs=Outputs(
            outputs.model, f"{outputs.checkpoints}/{folder}", f"{outputs.logs}/{folder}"
        ),
    )
    return replace(
        fitting,
        job=own,
        train=train.take(np.flatnonzero(~held)),
        validation=train.take(np.flatnonzero(held)),
        report=lambda epoch: None,
        folds_trees=False,
    )


def pick_greedily(predicted: Sequence[np.ndarray], head: Head, split: Split) -> np.ndarray:
    """Returns the share of each prediction in a mean of picked ones, `[M] float64`, of sum 1.

    Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble selection from libraries of models" (ICML
    2004): each pick, of all with replacement, lowers the loss of the mean the most. The best number
    of picks counts, the smallest of equal ones.

    Args:
        predicted: Class probabilities `[N, C] float32`, or labels `[N, 1] float32`, of each model.
        head: The task.
        split: The labels and weights of the rows.
    """
    counts, best = np.zeros(len(predicted)), (np.inf, np.zeros(len(predicted)))
    total = np.zeros(predicted[0].shape)
    for pick in range(1, PICKS + 1):
        losses = [
            np.average(head.row_losses((total + one) / pick, split.labels), weights=split.weights)
            for one in predicted
        ]
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        total += predicted[chosen]
        if losses[chosen] < best[0]:
            best = (losses[chosen], counts / pick)
    return best[1]


def _name(part: Predictor) -> str:
    """Returns the name of the candidate that a part is: of the trees, that of their form."""
    return next(c.name for c in part.candidates if c.chosen)


def _bagged(
    groups: Sequence[_Group], shares: np.ndarray, head: Head, validation: Split
) -> Predictor:
    """Returns the weighted mean of the groups, with the record of all candidates."""
    weighted = [
        (share / len(group.members), member)
        for group, share in zip(groups, shares, strict=True)
        for member in group.members
        if share
    ]

    def predict(numbers: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        return tf.add_n([share * m.predict(numbers, indices) for share, m in weighted])

    by_learner: dict[str, float] = {}
    for share, member in weighted:
        learner = next(iter(member.shares))
        by_learner[learner] = by_learner.get(learner, 0.0) + float(share)
    mixed = sum((s * g.predicted for g, s in zip(groups, shares, strict=True)), np.zeros(1))
    rows = [head.row_losses(p, validation.labels) for p in (*(g.predicted for g in groups), mixed)]
    losses = [float(np.average(r, weights=validation.weights)) for r in rows]
    candidates: list[Candidate] = []
    for group, by_row, loss in zip(groups, rows[:-1], losses[:-1], strict=True):
        if len(group.members) == 1 and not group.name.endswith("-folds"):
            candidates += [
                replace(c, row_losses=by_row) if c.row_losses is None else c
                for c in group.members[0].candidates
            ]
            continue
        fitted = [c for m in group.members for c in m.candidates]
        seconds = round(sum(c.seconds for c in fitted), 3)
        steps = sum(c.steps for c in fitted)
        candidates.append(Candidate(group.name, loss, seconds, steps, row_losses=by_row))
    steps = sum(m.progress.steps for g in groups for m in g.members)
    candidates.append(Candidate("bag", losses[-1], 0.0, steps, row_losses=rows[-1]))
    learners = sorted(by_learner, key=lambda name: name == "trees")  # the network first, as before
    leader = next(g.members[0] for g in groups if next(iter(g.members[0].shares)) == learners[0])
    return Predictor(
        predict,
        [v for _, m in weighted for v in m.variables],
        leader.progress,
        leader.stopped,
        {name: by_learner[name] for name in learners},
        choose(candidates, "bag", validation.weights),
    )
