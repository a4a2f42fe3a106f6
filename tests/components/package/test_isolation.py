"""An archive unpacks inside its folder, bounded, or not at all."""

import io
import subprocess
import sys
import tarfile

import pytest

from quatrain.components.errors import PackageError
from quatrain.components.package import isolation


def pack(path, *members):
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("evil", "sentence"),
    [
        (member("t/../../evil"), "escapes"),
        (member("/etc/evil"), "escapes"),
        (member("t/link", type=tarfile.SYMTYPE, linkname="../../etc"), "link or a device"),
        (member("t/link", type=tarfile.LNKTYPE, linkname="t/task.py"), "link or a device"),
        (member("t/null", type=tarfile.CHRTYPE), "link or a device"),
    ],
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path, evil, sentence):
    path = tmp_path / "evil.tar.gz"
    pack(path, (member("t/task.py"), b""), (evil, b""))
    with pytest.raises(PackageError, match=sentence):
        isolation.extract(path, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["evil.tar.gz", "task.py"]


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    path = tmp_path / "bomb.tar.gz"
    pack(path, (member("t/zeros"), bytes(isolation.MAX_UNPACKED_BYTES + 1)))
    assert path.stat().st_size < 100_000
    with pytest.raises(PackageError, match="unpacks to more than"):
        isolation.extract(path, tmp_path / "out")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "text.tar.gz"
    path.write_text("hello")
    with pytest.raises(PackageError, match=r"not a sound \.tar\.gz"):
        isolation.extract(path, tmp_path / "out")


def test_the_package_runs_with_a_safe_path_and_without_this_repository(tmp_path):
    (tmp_path / "queue.py").write_text("raise ImportError('queue.py was imported')")
    environ = isolation.environment(tmp_path / "site")
    code = "import queue\ntry:\n    import quatrain\nexcept ModuleNotFoundError as e:\n    print(e)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "No module named 'quatrain': the trainer package runs alone\n"


PYPROJECT = """
[build-system]
requires = [{requires}]
build-backend = "setuptools.build_meta"
[project]
name = "quatrain-trainer"
version = "1.0"
requires-python = "{python}"
{more}
[tool.setuptools]
packages = ["trainer"]
package-dir = {{"trainer" = "."}}
"""


def package(folder, more="", python=">=3.10", requires='"setuptools"'):
    path = folder / "quatrain_trainer-1.0.tar.gz"
    text = PYPROJECT.format(more=more, python=python, requires=requires)
    files = {"pyproject.toml": text, "__init__.py": "", "task.py": "def main(): print(7)\n"}
    pack(path, *((member(f"t-1.0/{name}"), text.encode()) for name, text in files.items()))
    return path


def installed(site):
    return sorted(p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file())


def test_a_package_of_modules_alone_is_installed_as_pip_does_it(tmp_path):
    by_pip = tmp_path / "pip"
    site = isolation.install(package(tmp_path), tmp_path)
    isolation._install_by_pip(next(tmp_path.glob("wheel/*.whl")), by_pip)
    # What pip adds is a record of itself, and bytecode.
    own = ("INSTALLER", "REQUESTED", "direct_url.json", ".pyc")
    assert installed(site) == [name for name in installed(by_pip) if not name.endswith(own)]
    assert {"trainer/__init__.py", "trainer/task.py"} < {*installed(site)}


def test_a_package_with_a_command_is_installed_by_pip(tmp_path):
    more = '[project.scripts]\nseven = "trainer.task:main"'
    site = isolation.install(package(tmp_path, more), tmp_path)
    assert {"bin/seven", "trainer/task.py"} < {*installed(site)}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"python": ">=3.99"}, r"without an index: it needs Python >=3\.99, and this one is 3\."),
        ({"requires": '"no-such-backend"'}, "its build needs no-such-backend, which the image"),
        ({"more": 'nonsense = "x"'}, "does not install without an index"),
    ],
)
def test_a_package_that_cannot_be_installed_is_refused_with_the_reason(
    tmp_path, settings, sentence
):
    with pytest.raises(PackageError, match=sentence):
        isolation.install(package(tmp_path, **settings), tmp_path)
