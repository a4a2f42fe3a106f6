"""The sdist has the same bytes from the same sources, and bad sources are refused."""

import os
import tarfile

import pytest

from quatrain.components.errors import PackageError
from quatrain.components.package.sdist import build_sdist, repack
from quatrain.components.package.sources import check_sources

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "quatrain-trainer"
version = "1.2"
[tool.setuptools]
packages = ["trainer"]
package-dir = {"trainer" = "."}
"""
FILES = {"pyproject.toml": PYPROJECT, "__init__.py": "", "task.py": "", "model.py": ""}


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**FILES, **files}.items():
        (folder / name).write_text(text)
    return folder


def task(text):
    return {"task.py": text}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("sdist")
    sources = write(root / "one")
    twin = write(root / "two" / "elsewhere")
    (twin / "__pycache__").mkdir()
    (twin / "__pycache__" / "task.cpython-311.pyc").write_bytes(b"stale")
    for path in twin.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o700)
    for name in ("a", "b"):
        (root / name).mkdir()
    before = sorted(p.name for p in sources.rglob("*"))
    pair = build_sdist(sources, root / "a"), build_sdist(twin, root / "b")
    assert sorted(p.name for p in sources.rglob("*")) == before
    return pair


def test_the_same_sources_give_the_same_bytes_whatever_their_times_and_modes(built):
    one, two = built
    assert one.path.read_bytes() == two.path.read_bytes()


def test_the_name_holds_the_version_and_the_digest(built):
    assert built[0].path.name == f"quatrain_trainer-1.2-{built[0].sha256}.tar.gz"


def test_members_have_no_owner_no_time_and_no_caches(built):
    with tarfile.open(built[0].path) as tar:
        members = tar.getmembers()
    assert {(m.uid, m.gid, m.uname, m.mtime, m.mode) for m in members} == {(0, 0, "", 0, 0o644)}
    names = [m.name for m in members]
    assert names == sorted(names)
    assert not [n for n in names if "__pycache__" in n]


def test_repacking_forgets_the_order_of_members(tmp_path):
    for name, order in (("x", ("b", "a")), ("y", ("a", "b"))):
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as tar:
            for member in order:
                (tmp_path / member).write_text(member)
                tar.add(tmp_path / member, f"t/{member}")
        repack(tmp_path / f"{name}.tar.gz", tmp_path / name)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize("name", ["task.py", "model.py", "pyproject.toml"])
def test_a_missing_file_is_named(tmp_path, name):
    (write(tmp_path / "t") / name).unlink()
    with pytest.raises(PackageError, match=f"{name} is missing"):
        check_sources(tmp_path / "t")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import os\n\nimport torch.nn",
            r"task\.py:3: imports torch\.nn, which the training image",
        ),
        (
            "def f():\n    from quatrain.components import tiers",
            r"task\.py:2: imports quatrain\.components, which is out",
        ),
        ("from quatrain.cli import main", "the trainer runs alone"),
        ("import trainer.gone", "the folder does not hold"),
        ("x = (", r"task\.py:1: "),
    ],
)
def test_an_import_that_the_job_would_lack_is_refused_with_its_line(tmp_path, text, sentence):
    with pytest.raises(PackageError, match=sentence):
        check_sources(write(tmp_path / "t", **task(text)))


def test_a_module_that_is_near_but_not_installed_is_refused(tmp_path, monkeypatch):
    (tmp_path / "neighbour.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PackageError, match="imports neighbour, which the training image"):
        check_sources(write(tmp_path / "t", **task("import neighbour")))


@pytest.mark.parametrize(
    "text",
    [
        "import json, numpy.linalg, tensorflow, keras",
        "import trainer.model\nfrom trainer import task\nfrom . import model",
        "try:\n    import torch\nexcept ImportError:\n    torch = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
    ],
)
def test_imports_that_the_image_has_or_that_are_optional_pass(tmp_path, text):
    check_sources(write(tmp_path / "t", **task(text)))


def test_a_link_to_the_outside_is_refused_and_all_problems_are_listed(tmp_path):
    folder = write(tmp_path / "t", **task("import torch"))
    (folder / "secret.txt").symlink_to("/etc/hostname")
    with pytest.raises(PackageError) as raised:
        check_sources(folder)
    lines = str(raised.value).splitlines()[1:3]
    assert lines[0] == "  secret.txt points outside the folder"
    assert "imports torch" in lines[1]


def test_a_failed_build_gives_its_reason(tmp_path):
    folder = write(tmp_path / "t", **{"pyproject.toml": PYPROJECT.replace('"1.2"', '"one"')})
    with pytest.raises(PackageError, match="does not build"):
        build_sdist(folder, tmp_path)


def test_what_is_left_out_of_the_package_may_point_anywhere(tmp_path):
    folder = write(tmp_path / "trainer")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "python").symlink_to("/bin/sh")
    check_sources(folder)
