"""The small table of the components' tests, and its spec."""

from tests.components.conftest import delays_spec, table

__all__ = ["delays_spec", "table"]
