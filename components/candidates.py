"""The models that a training fitted, as metadata.json lists them, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quatrain.components.artifacts import run_again
from quatrain.components.confidence import Z95
from quatrain.components.errors import ArtifactError
from quatrain.components.wording import counted


def chosen_loss(model: Mapping[str, Any]) -> float:
    """Returns the validation loss of the exported model.

    Args:
        model: The section `model` of metadata.json.

    Raises:
        ArtifactError: Not exactly one candidate is chosen, as a user's own trainer may write it.
    """
    chosen = [candidate for candidate in model["candidates"] if candidate["chosen"]]
    if len(chosen) != 1:
        raise ArtifactError(
            f"metadata.json must mark one candidate as chosen, the exported one, but it marks "
            f"{', '.join(candidate['name'] for candidate in chosen) or 'none'}; correct the "
            f"trainer that wrote it, and {run_again('train')}"
        )
    loss: float = chosen[0]["validation_loss"]
    return loss


def others_in_words(model: Mapping[str, Any]) -> str:
    """Returns the candidates that lost: `tabm 0.2500, trees 0.2010 (level)`; empty without any.

    Level are those whose distance to the exported model may be chance.
    """
    return ", ".join(
        f"{c['name']} {c['validation_loss']:.4f}{' (level)' if _is_level(c) else ''}"
        for c in model["candidates"]
        if not c["chosen"]
    )


def left_out_in_words(model: Mapping[str, Any]) -> str:
    """Returns the models that were not fitted: `tabm (it cannot keep monotone age)`; or empty.

    Args:
        model: The section `model` of metadata.json; models of earlier versions list none.
    """
    return ", ".join(f"{m['name']} ({m['why']})" for m in model.get("left_out", ()))


def refit_in_words(model: Mapping[str, Any]) -> str:
    """Returns to what the exported model was fitted again: `4,000 rows`; empty if it was not.

    Args:
        model: The section `model` of metadata.json; models of earlier versions were fitted once.
    """
    rows = model.get("refit_rows", 0)
    return counted(rows, "row") if rows else ""


def standing(candidate: Mapping[str, Any]) -> str:
    """Returns how a candidate compares with the exported model: `behind by 0.002 ± 0.001`."""
    if candidate["chosen"]:
        return "exported"
    if candidate["behind"] is None:
        return "not exported"
    distance = f"{candidate['behind']:.2g} ± {Z95 * candidate['behind_error']:.2g}"
    return f"behind by {distance}{', which may be chance' if _is_level(candidate) else ''}"


def _is_level(candidate: Mapping[str, Any]) -> bool:
    behind, error = candidate["behind"], candidate["behind_error"]
    return behind is not None and abs(behind) <= Z95 * error
