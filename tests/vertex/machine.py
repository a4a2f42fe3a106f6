"""A machine as Vertex AI gives it to a container: buckets below /gcs, and Google's own clients.

One emulation of Cloud Storage stands behind all of them: gcsfuse mounts it at /gcs, pyarrow, Beam
and Google's client find it by its address, and TensorFlow under Google's names through a proxy.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulators import storage, tls

ROOT = Path(__file__).parents[2]
MOUNT = Path("/gcs")
BUCKET = "quatrain.rows_1"
"""Dots and underscores are legal in the name of a bucket, and are not in the name of a host."""
_PROCESS_1 = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
GCSFUSE = os.environ.get("GCSFUSE") or shutil.which("gcsfuse") or ""


def why_not() -> str:
    """Returns why nothing can be mounted here, or nothing."""
    if not GCSFUSE or not Path(GCSFUSE).is_file():
        return "there is no gcsfuse; make vertex-test installs it where Go is"
    if os.geteuid() or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "a mount needs root and /dev/fuse"
    if MOUNT.exists() and (MOUNT.is_mount() or any(MOUNT.iterdir())):
        return f"{MOUNT} is in use on this machine"
    return ""


@dataclass(frozen=True)
class Machine:
    """The storage, and the environment that leads a container's clients to it."""

    storage: storage.Storage
    environment: dict[str, str]

    def objects(self, folder: str) -> dict[str, bytes]:
        """Returns the objects below a gs:// folder by their relative names; folders have none."""
        prefix = folder.removeprefix(f"gs://{BUCKET}/").rstrip("/") + "/"
        found = dict(self.storage.buckets[BUCKET].objects)
        return {
            name.removeprefix(prefix): found[name].data
            for name in sorted(found)
            if name.startswith(prefix) and not name.endswith("/")
        }

    def start(
        self, command: list[str], log: Path, extra: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a container's command in an empty folder, as the leader of its own session.

        It is process 1 of its own namespace, where the kernel drops a signal without a handler.
        """
        with log.open("ab") as stream:
            return subprocess.Popen(
                [*_PROCESS_1, *command],
                cwd=tempfile.mkdtemp(dir=self.environment["TMPDIR"]),
                env={**self.environment, **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )


def process_1(container: subprocess.Popen[bytes]) -> int:
    """Returns the id, out here, of a container's process 1."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    return int(children.read_text().split()[0])


def end(container: subprocess.Popen[bytes]) -> None:
    """Kills a container that may be running, and waits for it.

    Its process 1 is killed first: one that has stopped being root has also lost the signal that
    the kernel sends it when its parent dies (prctl(2), PR_SET_PDEATHSIG).
    """
    if container.poll() is None:
        with suppress(IndexError, ProcessLookupError, FileNotFoundError):
            os.kill(process_1(container), signal.SIGKILL)
        container.kill()
    container.wait()


@contextmanager
def starting(folder: Path, *, implicit_dirs: bool = True) -> Iterator[Machine]:
    """Yields a machine whose buckets are mounted; it ends with the context.

    Meanwhile the same storage is asked by this process, which submits the jobs.

    Args:
        folder: Where it may keep files.
        implicit_dirs: Whether its mount shows folders that have no object of their own.
    """
    with storage.serving() as state, tls.serving_storage(state, folder) as leading:
        state.add_bucket(BUCKET)
        key = storage.write_credentials(folder / "key.json", state.url)
        temporary = folder / "tmp"
        temporary.mkdir()
        environment = {
            **leading,
            "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "TMPDIR": str(temporary),
            "STORAGE_EMULATOR_HOST": state.url,
            "CLOUD_STORAGE_EMULATOR_ENDPOINT": state.url,
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "GOOGLE_CLOUD_PROJECT": "my-project",
        }
        options = ["--implicit-dirs"] if implicit_dirs else []
        with (
            _mounted(state.url, folder / "gcsfuse.log", options),
            pytest.MonkeyPatch.context() as patch,
        ):
            for name, value in environment.items():
                if name.startswith(("STORAGE_", "CLOUD_", "GOOGLE_")):
                    patch.setenv(name, value)
            yield Machine(state, environment)


@contextmanager
def _mounted(url: str, log: Path, options: Sequence[str]) -> Iterator[None]:
    """Mounts every bucket below /gcs, as Vertex's mount does; it may cover another mount."""
    MOUNT.mkdir(exist_ok=True)
    before = MOUNT.stat().st_dev
    # With an address instead of a name, gcsfuse would take it for another one's gRPC service.
    endpoint = url.replace("127.0.0.1", "localhost") + "/storage/v1/"
    command = [GCSFUSE, "--foreground", "--anonymous-access", "--custom-endpoint", endpoint]
    # By default a mount asks for a folder again after a minute, so that the requests of a step
    # would depend on how slow the machine is.
    command += ["--metadata-cache-ttl-secs", "3600"]
    with log.open("ab") as stream:
        daemon = subprocess.Popen([*command, *options, str(MOUNT)], stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + 60
        while MOUNT.stat().st_dev == before:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"gcsfuse does not mount: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        subprocess.run(["umount", "-l", MOUNT], check=False)  # noqa: S607 - wherever it is
        daemon.terminate()
        daemon.wait()
        # The folder stays: to remove it would unmount what another namespace has there.
