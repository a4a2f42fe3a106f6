"""A number stands with the right form of its noun."""

from quatrain.components.wording import counted


def test_only_one_thing_is_singular() -> None:
    assert [counted(n, "error") for n in (0, 1, 2000)] == ["0 errors", "1 error", "2,000 errors"]
