"""The regions of Vertex AI training and the hardware that each one lacks, by `regions.yaml`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from quatrain.components.tiers.pools import Pool
from quatrain.components.tiers.tiers import Tier

LOCATIONS = (
    "https://docs.cloud.google.com/gemini-enterprise-agent-platform/machine-learning/"
    "general/locations#accelerators"
)


@functools.cache
def load() -> dict[str, Any]:
    """Returns the data of `regions.yaml`."""
    import yaml

    path = Path(__file__).with_name("regions.yaml")
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def untrained(tier: Tier, location: str) -> list[str]:
    """Returns the hardware of a tier with which Vertex does not train in a region."""
    lacking = load()["not_trained"]
    names = dict.fromkeys(_hardware(pool) for pool in tier.pools)
    return [name for name in names if location in lacking.get(name, ())]


def _hardware(pool: Pool) -> str:
    """Returns the accelerator of a pool, or the family of its machine: ct5lp of a TPU v5e."""
    return pool.accelerator_type or pool.machine_type.partition("-")[0]
