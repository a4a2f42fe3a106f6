"""What the settings are where the spec leaves them to the rows."""

import pytest

from quatrain.trainer.settings import Hyperparameters


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs", "patience"),
    [
        (100, 128, 12_000, 100),  # 1 step an epoch: 12 000 and 100 steps
        (200, 128, 6_000, 50),  # 2
        (640, 128, 2_400, 40),  # 5: 40 epochs
        (3_999, 128, 375, 16),  # 32: 500 steps
        (4_000, 256, 750, 32),  # 16
        (49_999, 256, 62, 3),  # 196
        (50_000, 512, 123, 6),  # 98
        (199_999, 512, 31, 2),  # 391
        (3_000_000, 1024, 12, 2),  # 2 930: never fewer epochs
    ],
)
def test_the_rows_decide_what_the_spec_leaves_open(
    rows: int, batch_size: int, epochs: int, patience: int
) -> None:
    settled = Hyperparameters().settled(rows)
    assert (settled.batch_size, settled.epochs, settled.patience) == (batch_size, epochs, patience)


@pytest.mark.parametrize(("rows", "members"), [(99_999, 8), (100_000, 4)])
def test_many_rows_need_fewer_members(rows: int, members: int) -> None:
    assert Hyperparameters().settled(rows).members == members


def test_settings_of_the_spec_stay() -> None:
    settings = Hyperparameters(batch_size=100, members=3, epochs=7, patience=1)
    assert settings.settled(10_000) == settings
