"""Which other tiers can train when a region has none of a tier's machines just now."""

from __future__ import annotations

from quatrain.components.tiers import regions, tiers
from quatrain.components.tiers.pools import Pool

MOST_NAMES = 3
"""How many other tiers a message names."""


def other_tiers(tier: tiers.Tier, location: str) -> list[str]:
    """Returns tiers of the same kind of hardware that need other machines, or wait for the same.

    All of them can train in the region `location`.

    Tiers with about as many accelerators come first. A tier on spot machines is one only for
    another tier on spot machines, since it may be stopped at any time.
    """
    names = [name for name in tiers.names() if name != "CUSTOM"]
    others = [
        other
        for other in map(tiers.describe, names)
        if _can_replace(other, tier) and not regions.untrained(other, location)
    ]
    others.sort(key=lambda other: abs(other.devices - tier.devices))
    return [other.name for other in others[:MOST_NAMES]]


def way_out(tier: tiers.Tier, location: str) -> str:
    """Returns what to do when a tier's machines are lacking."""
    others = other_tiers(tier, location)
    named = f", such as {' or '.join(f'--tier {name}' for name in others)}" if others else ""
    return (
        f"the machines of tier {tier.name} are lacking: submit again later, in another region, or "
        f"the same command with another tier{named}; preprocess then comes from the cache, and "
        f"--fallback TIER does it by itself"
    )


def _can_replace(other: tiers.Tier, tier: tiers.Tier) -> bool:
    if other.accelerator != tier.accelerator:
        return False
    if "SPOT" in (other.scheduling, tier.scheduling) and other.scheduling != tier.scheduling:
        return False
    waits = other.scheduling == "FLEX_START" != tier.scheduling
    return waits or _hardware(other.pools) != _hardware(tier.pools)


def _hardware(pools: tuple[Pool, ...]) -> set[tuple[str, str | None]]:
    return {(pool.machine_type, pool.accelerator_type) for pool in pools}
