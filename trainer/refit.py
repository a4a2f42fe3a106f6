"""The second fit of a small table: the chosen model, fitted again to train and validation rows.

The first fit chooses by the validation rows: epochs, rounds, the form of the trees, the share of
each part. These choices stay, as do all losses. With a fifth fewer rows than it could have, a model
of some thousand rows loses more than it does by a choice that is a little stale:
docs/decisions/0025 has the figures.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from .examples import Split, joined
from .predictor import Fitting, Predictor
from .rows import Streamed
from .settings import Hyperparameters

log = logging.getLogger("trainer")
MOST_ROWS = 32_000
"""Train rows from which a model is fitted once: validation rows teach it little more."""


def rows_of_both(
    settings: Hyperparameters, train: Split | Streamed, validation: Split | Streamed
) -> Split | None:
    """Returns the rows of the second fit; None if there is to be none.

    `max_steps` counts the steps of a single fit, and `quality: high` has fits of its own.
    """
    if isinstance(train, Streamed) or isinstance(validation, Streamed):
        return None
    if settings.refit == "never" or settings.quality == "high" or settings.max_steps:
        return None
    return joined([train, validation]) if train.rows < MOST_ROWS else None


def fit_alone(
    fit: Callable[[Fitting], Predictor | None],
) -> Callable[[Fitting], Predictor | None]:
    """Returns the function that fits a model of one part, and then fits it again if it may."""

    def fit_twice(fitting: Fitting) -> Predictor | None:
        started = time.monotonic()
        predictor = fit(fitting)
        if predictor is None or predictor.refit is None:
            return predictor
        left = seconds_left(fitting, started, predictor)
        return predictor.refit(left) or once(predictor)

    return fit_twice


def seconds_left(fitting: Fitting, started: float, predictor: Predictor) -> float:
    """Returns the seconds that `max_seconds` leaves a second fit; infinite without that bound.

    Args:
        fitting: The input of the first fit.
        started: When it started, by `time.monotonic`.
        predictor: Its result, whose time counts that before a restart too.
    """
    bound = fitting.job.settings.max_seconds
    spent = max(time.monotonic() - started, predictor.progress.seconds)
    return bound - spent if bound else math.inf


def once(predictor: Predictor) -> Predictor:
    """Returns the model of the first fit, and logs why it is exported."""
    log.info("max_seconds leaves no time for a second fit: the first is exported")
    return predictor
