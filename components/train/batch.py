"""How the global batch and the learning rate follow the accelerators: the rules of `tiers.yaml`."""

from __future__ import annotations

import math
from dataclasses import replace

from quatrain.trainer.settings import Hyperparameters

MIN_STEPS = 100
"""Steps that an epoch keeps when its batch grows: with fewer, epochs learn little."""


def scaled(rule: str, settings: Hyperparameters, devices: int, train_rows: int) -> Hyperparameters:
    """Returns the settings with the global batch and the learning rate of a tier.

    `constant` changes nothing. `square_root` multiplies the batch by the largest power of two that
    is at most the number of accelerators and leaves MIN_STEPS in an epoch, and the learning rate
    by its square root: the noise of an adaptive method then stays the same (Malladi, Lyu, Panigrahi
    & Arora 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms"). Epochs and
    patience stay those of the unscaled batch.

    Args:
        rule: constant or square_root.
        settings: As the spec has them.
        devices: Accelerators in all.
        train_rows: Rows of the train split.
    """
    settled = settings.settled(train_rows)
    fits = min(devices, train_rows // (MIN_STEPS * settled.batch_size))
    if rule == "constant" or fits < 2:
        return settings
    times = 1 << (fits.bit_length() - 1)
    return replace(
        settled,
        batch_size=settled.batch_size * times,
        learning_rate=settled.learning_rate * math.sqrt(times),
    )
