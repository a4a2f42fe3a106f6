"""The loop: what its moving average holds after the first steps."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.small import SMALL
from trainer.cluster import join_cluster
from trainer.examples import read_examples
from trainer.loop import Loop
from trainer.network import Columns, build_tabm
from trainer.predictor import head_of
from trainer.rows import Resident
from trainer.settings import Hyperparameters


def new_loop(folder: Path, settings: Hyperparameters) -> Loop:
    examples = read_examples(str(folder))
    rows = examples.split("train"), examples.split("validation")
    head = head_of(examples, rows[0])
    build = partial(build_tabm, Columns.of(examples, rows[0], settings.bins), head.units, settings)
    return Loop(join_cluster("one_device"), build, head, settings, *map(Resident, rows))


@pytest.mark.parametrize(
    ("averaging", "momenta"),
    [
        (0.99, (2 / 11, 3 / 12, 4 / 13)),  # (1 + n) / (10 + n)
        (0.2, (2 / 11, 0.2, 0.2)),
        (0.0, (0.0, 0.0, 0.0)),
    ],
)
def test_the_average_leaves_the_initial_weights_in_the_first_steps(
    examples: Path, averaging: float, momenta: tuple[float, ...]
) -> None:
    settings = Hyperparameters(**{**vars(SMALL), "averaging": averaging})
    loop = new_loop(examples, settings)
    (window,), expected = loop.windows(1), loop.network.get_weights()
    for step, momentum in enumerate(momenta):
        loop.run_steps(window, step, 1)
        pairs = zip(expected, loop.network.get_weights(), strict=True)
        expected = [momentum * old + (1 - momentum) * new for old, new in pairs]
        for average, by_hand in zip(loop.average.get_weights(), expected, strict=True):
            np.testing.assert_allclose(average, by_hand, rtol=1e-5, atol=1e-7)
