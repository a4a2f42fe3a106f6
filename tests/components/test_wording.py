"""A number stands with the right form of its noun."""

from quatrain.components.wording import a_or_an, counted, first_line, near


def test_only_one_thing_is_singular() -> None:
    assert [counted(n, "error") for n in (0, 1, 2000)] == ["0 errors", "1 error", "2,000 errors"]
    assert [counted(2, noun) for noun in ("class", "batch", "epoch")] == [
        "2 classes",
        "2 batches",
        "2 epochs",
    ]


def test_a_verb_has_the_form_of_its_number() -> None:
    verbs = ("are", "have", "stand")
    assert [counted(1, "row", v) for v in verbs] == ["1 row is", "1 row has", "1 row stands"]
    assert [counted(2, "row", v) for v in verbs] == ["2 rows are", "2 rows have", "2 rows stand"]


def test_an_article_is_that_of_the_sound_which_follows() -> None:
    words = ("Arrow IPC file", "int", "ORC file", "HTML page", "Parquet file", "unique key")
    assert [a_or_an(word).partition(" ")[0] for word in words] == ["an"] * 4 + ["a"] * 2


def test_the_nearest_word_is_found_whatever_its_letters() -> None:
    assert near("Dir", ["hir", "dir"]) == "; did you mean 'dir'?"
    assert near("dir", ["hir", "DIR"]) == "; did you mean 'DIR'?"


def test_an_error_of_the_system_is_shown_without_its_number() -> None:
    assert first_line(PermissionError(13, "Permission denied", "/r/a")) == "/r/a: Permission denied"
    assert first_line(OSError(28, "No space left on device")) == "No space left on device"
    assert first_line(OSError("cut short\nat byte 7")) == "cut short"
