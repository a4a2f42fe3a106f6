"""How far one has to read: the chain of imports that preprocessing hangs on."""

from __future__ import annotations

from functools import cache

import grimp

MOST_MODULES = 12


def test_no_chain_of_imports_below_the_doorway_is_longer_than_twelve_modules() -> None:
    graph = grimp.build_graph("quatrain")

    @cache
    def longest(module: str) -> tuple[str, ...]:
        below = (longest(name) for name in graph.find_modules_directly_imported_by(module))
        return (module, *max(below, key=len, default=()))

    chain = longest("quatrain.components.preprocess.component")
    assert len(chain) <= MOST_MODULES, " > ".join(chain)
