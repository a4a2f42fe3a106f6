"""The systems that are compared, and which splits each is measured on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from benchmarks.quality.environments import requirements
from benchmarks.quality.places import HERE, TABLES
from benchmarks.quality.sources import PRODUCT, digest_of
from benchmarks.quality.tables import QualityTable


@dataclass(frozen=True)
class System:
    """A system that is measured.

    Attributes:
        name: Its name.
        family: `ours`, `A` (boosted trees that stop on our validation rows), `B` (tuned defaults),
            `C` (AutoGluon), or `words` (a linear model of words, for tables with free text).
        worker: The module of `workers/` that trains it.
        environment: The locked requirements that it runs with; '' is our own environment.
        every_split: Whether each split is measured, not just the first.
        few: The list of `tables.toml` that it is measured on; '' is every table.
    """

    name: str
    family: str
    worker: str
    environment: str = ""
    every_split: bool = False
    few: str = ""

    def takes(self, table: QualityTable, seed: int) -> bool:
        """Whether it is measured on a split of a table."""
        is_few = not self.few or table.name in _few()[self.few]
        return is_few and (self.every_split or seed == 0)

    @property
    def sources(self) -> str:
        """A digest of what its results depend on beside the rows."""
        worker = HERE / "workers" / f"{self.worker}.py"
        return digest_of(
            worker, *((requirements(self.environment),) if self.environment else PRODUCT)
        )


@cache
def _few() -> dict[str, list[str]]:
    """Returns the tables of the systems that cost hours, by the name of their list."""
    return dict(tomllib.loads(TABLES.read_text(encoding="utf-8"))["few"])


OURS = System("Quatrain", "ours", "product", every_split=True)
BOOSTED = ("LightGBM", "XGBoost", "CatBoost", "HistGradientBoosting")
TUNED = ("LGBM-TD", "XGB-TD", "CatBoost-TD", "RealMLP-TD", "TabM-D")
WORDS = System("TF-IDF and linear", "words", "boosted", "boosted", every_split=True)
MEDIUM = System("AutoGluon medium", "C", "autogluon_", "autogluon")
HIGH = System("AutoGluon high", "C", "autogluon_", "autogluon", few="autogluon-high")
SYSTEMS = (
    *(System(name, "A", "boosted", "boosted", every_split=True) for name in BOOSTED),
    WORDS,
    OURS,
    MEDIUM,
    *(System(name, "B", "pytabkit_", "pytabkit", few="pytabkit") for name in TUNED),
    HIGH,
)
