"""The loop: what its moving average holds after the first steps."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from quatrain.trainer.cluster import join_cluster
from quatrain.trainer.examples import read_examples
from quatrain.trainer.network import Columns, build_linear, build_tabm
from quatrain.trainer.neural.steps import Loop
from quatrain.trainer.predictor import head_of
from quatrain.trainer.rows import Resident, Streamed
from quatrain.trainer.settings import Hyperparameters
from tests.trainer.small import SMALL, write_examples


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


def test_windows_of_any_length_are_traced_twice_at_most(tmp_path: Path) -> None:
    examples = read_examples(str(write_examples(tmp_path / "examples", group_rows=30)))
    train = Streamed(examples, "train", 70 * 4 * 7)  # windows of 90 rows and what is left over
    head = head_of(examples, train)
    settings = replace(SMALL, batch_size=20)
    build = partial(build_linear, Columns.of(examples, train, settings.bins), head.units, settings)
    loop = Loop(join_cluster("one_device"), build, head, settings, train, train)
    windows = list(loop.windows(0))
    assert len({len(window.order) for window in windows}) > 1
    for window in windows:
        loop.run_steps(window, 0, window.steps)
    assert loop._run_steps.experimental_get_tracing_count() <= 2
    assert int(loop.step.numpy()) == loop.steps == 17
