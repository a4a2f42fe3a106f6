"""The models that a training fitted: what each reached and cost, and how sure the choice is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """A model that was fitted, and may be the exported one.

    Attributes:
        name: `tabm`, `linear`, `trees`, another form of the trees, or `blend`.
        validation_loss: Weighted mean of the log-loss, or of the squared error in the label's unit.
        seconds: Time of its training; of a blend, without its parts.
        steps: Steps of a network or rounds of trees; of a blend, of both its parts.
        chosen: Whether it is the exported model.
        members: Fits whose mean it is. The losses are those of the first one; the others have
            learned from the validation rows too.
        behind: How far its mean loss lies above that of the exported model; None if that is
            unknown, as where the rows are streamed.
        behind_error: Standard error of `behind`, from the differences of the rows.
        row_losses: The loss of each validation row, `[N] float64`; None if unknown.
    """

    name: str
    validation_loss: float
    seconds: float = 0.0
    steps: int = 0
    chosen: bool = False
    members: int = 1
    behind: float | None = None
    behind_error: float | None = None
    row_losses: np.ndarray | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, object]:
        """Returns the entry of metadata.json, without the losses of the rows."""
        entry = asdict(replace(self, row_losses=None))
        del entry["row_losses"]
        return entry


@dataclass(frozen=True)
class LeftOut:
    """A model that was not fitted.

    Attributes:
        name: `tabm` or another name of a candidate.
        why: What it cannot do, as `it cannot keep monotone age`.
    """

    name: str
    why: str


def choose(
    candidates: Sequence[Candidate], name: str, weights: np.ndarray | None = None
) -> tuple[Candidate, ...]:
    """Marks the candidate that is exported, and compares all others with it row by row.

    Args:
        candidates: What was fitted.
        name: Name of the exported one.
        weights: Weights of the validation rows, `[N] float32`; None where rows are unknown.
    """
    exported = next(c for c in candidates if c.name == name)
    compared = []
    for candidate in candidates:
        behind, error = None, None
        ours, theirs = exported.row_losses, candidate.row_losses
        if weights is not None and ours is not None and theirs is not None:
            behind, error = _difference(theirs - ours, weights)
        chosen = candidate is exported
        compared.append(replace(candidate, chosen=chosen, behind=behind, behind_error=error))
    return tuple(compared)


def _difference(differences: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Returns the weighted mean of `[N]` differences, and its standard error."""
    mean = float(np.average(differences, weights=weights))
    share = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    return mean, float(np.sqrt(np.sum((share * (differences - mean)) ** 2)))
