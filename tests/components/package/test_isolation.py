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
