"""What a reader of a verdict should know, though no bound of the gate is missed by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quatrain.components.evaluate.gate import compared, is_worse
from quatrain.components.evaluate.measures.metrics import loss_of
from quatrain.components.specification.schema import Limit


def cautions(measured: Mapping[str, Any], classes: tuple[str, ...], champion: Limit) -> list[str]:
    """Returns sentences on a model that may be no better than what one has, or costs nothing.

    Args:
        measured: Measurements, as in metrics.json.
        classes: The names of the classes; none of a regression.
        champion: By what share the loss may be above the champion's.
    """
    return [
        *_against_champion(measured, champion),
        *_against_baselines(measured),
        *_never_predicted(measured, classes),
    ]


def _against_champion(measured: Mapping[str, Any], limit: Limit) -> Iterator[str]:
    champion = measured["champion"]
    if not champion:
        return
    if champion["why"]:
        yield f"not compared with the champion, run {champion['run']}: {champion['why']}"
        return
    warns, fails = (
        n is not None and is_worse(champion["worse"], n) for n in (limit.warn, limit.fail)
    )
    if warns and not fails:
        yield compared(measured)


def _against_baselines(measured: Mapping[str, Any]) -> Iterator[str]:
    name = loss_of(measured["task"])
    model, baseline = measured["metrics"][name], measured["baseline"]
    value, high = model["value"], model["high"]
    prior, single = baseline["trivial"][name]["value"], baseline["single_input"]
    alone = single["metrics"][name]["value"]
    if value is None:
        return
    if prior is not None and high is not None and value < prior <= high:
        what = "mean label" if measured["task"] == "regression" else "share of each class"
        yield (
            f"{name}={value:,.4f} is hardly below {prior:,.4f}, that of always predicting the "
            f"train {what}: its 95 % interval reaches {high:,.4f}"
        )
    if alone is not None and alone < value:
        yield f"the input {single['input']!r} alone has {name}={alone:,.4f}, the model {value:,.4f}"


def _never_predicted(measured: Mapping[str, Any], classes: tuple[str, ...]) -> Iterator[str]:
    confusion = measured["curves"].get("confusion", [])
    if len(confusion) != 2:
        return
    for place, name in enumerate(classes):
        if sum(row[place] for row in confusion) == 0 < sum(confusion[place]):
            yield (
                f"no test row is predicted {name!r}, which {sum(confusion[place]):,.0f} are: use "
                f"the probabilities, and a threshold of your own"
            )
