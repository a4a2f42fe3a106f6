"""Files that run a whole chain come first, so that no process waits for one at the end."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    whole = {item.path for item in items if item.get_closest_marker("whole")}
    items.sort(key=lambda item: item.path not in whole)
