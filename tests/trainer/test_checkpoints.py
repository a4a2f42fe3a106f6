"""The progress of a training, which decides when it ends."""

from quatrain.trainer.checkpoints import Epoch, Progress


def progress_of(*losses: float) -> Progress:
    progress = Progress()
    for number, loss in enumerate(losses, 1):
        progress = progress.add(Epoch(number, number, 0.0, loss, 0.0))
    return progress


def test_a_loss_that_falls_too_slowly_is_no_gain_but_the_best_one_stays() -> None:
    progress = progress_of(1.0, 0.9, 0.8999, 0.8998)
    assert (progress.best_epoch, progress.since_best) == (4, 0)
    assert progress.since_gain(0.001) == 2


def test_small_gains_add_up() -> None:
    # Each is below 1 in 1 000; that of epoch 3 together with that of epoch 2 is above it.
    assert progress_of(1.0, 0.9994, 0.9988).since_gain(0.001) == 0
    assert Progress().since_gain(0.001) == 0
