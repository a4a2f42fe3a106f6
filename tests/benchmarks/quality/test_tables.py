import hashlib
import zipfile

import pytest

from benchmarks.quality import archives
from benchmarks.quality.archives import Member, is_here
from benchmarks.quality.formats import read_table
from benchmarks.quality.tables import LISTS, all_tables, members

TABLES = all_tables()
BY_NAME = {one.name: one for one in TABLES}
SHAPES = {
    "adult": (48_842, 15),
    "letter": (20_000, 17),
    "diamonds": (53_940, 10),
    "loans": (10_000, 55),
    "churn": (5_000, 20),
    "flights-left": (100_000, 20),
}


def test_the_lists_are_as_large_as_the_claim_needs():
    counts = [sum(one.purpose == purpose for one in TABLES) for purpose in LISTS]
    assert counts[0] == 13 and counts[1] >= 20
    assert len(BY_NAME) == len(TABLES)
    assert sum(one.split in ("time", "group") for one in TABLES) >= 6
    assert {"churn", "splice", "credit-g", "diabetes"} <= {
        one.name for one in TABLES if one.purpose == "reporting" and one.tabarena
    }


def test_no_file_serves_both_lists():
    files = [
        {member.member for one in TABLES if one.purpose == purpose for member in members(one)}
        for purpose in LISTS
    ]
    assert not files[0] & files[1]


@pytest.mark.parametrize("name", SHAPES)
def test_a_table_is_read_by_its_digest(name):
    if not all(is_here(member) for member in members(BY_NAME[name])):
        pytest.skip(f"the package of {name} is not downloaded; the measure does it")
    rows = BY_NAME[name].rows()
    assert (rows.num_rows, rows.num_columns) == SHAPES[name]
    assert rows[BY_NAME[name].target].null_count == 0


def test_bytes_of_another_digest_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "CACHE", tmp_path)
    folder = tmp_path / "archives/toy==1"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "toy-1.whl", "w") as wheel:
        wheel.writestr("toy/rows.csv", "a,b\n1,2\n")
    right = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert Member("toy/rows.csv", right, pypi="toy==1").read() == b"a,b\n1,2\n"
    with pytest.raises(ValueError, match=r"toy/rows\.csv has sha256"):
        Member("toy/rows.csv", "0" * 64, pypi="toy==1").read()


def test_values_of_keel_may_have_blanks_and_end_with_the_class():
    rows = read_table("raw/toy.dat", b"1, 2.5, yes\n3, ?, no\n")
    assert rows.to_pylist() == [
        {"x1": 1, "x2": 2.5, "label": "yes"},
        {"x1": 3, "x2": None, "label": "no"},
    ]
