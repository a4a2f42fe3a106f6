"""The built image: each step, a worker pool and the server run in it.

Not collected by `make test`: `make image-test` builds the image and names this file. The image is
in IMAGE, its storage in CONTAINERS_STORAGE_CONF. buildah does not apply ENTRYPOINT, so it is read
from the image's configuration.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

IMAGE = os.environ["IMAGE"]
ROOT = Path(__file__).parents[2]
BUILDAH = shutil.which("buildah") or "buildah"
ISOLATED = ("--isolation", "chroot")
SPEC: dict[str, Any] = {
    "name": "toys",
    "source": {"uri": "toys.csv"},
    "columns": {"id": "string", "size": "float", "colour": "string", "noise": "float"},
    "clean": {"derive": {"big": "size + length(colour) + noise > 8"}},
    "label": "big",
    "task": "binary",
    "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
    "features": [
        {"name": "size", "from": "size", "transform": "standardize"},
        {"name": "colour", "from": "colour", "transform": "hash", "buckets": 7},
    ],
    "train": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01},
    "evaluate": {"gate": {"auc": {"min": 0.6}}},
}
# The same pipeline in this process, and on the worker pool that listens on port 50000.
PREPROCESS = """
import sys
from quatrain.components.preprocess.run import preprocess
options = {"environment_type": "EXTERNAL", "environment_config": "localhost:50000"}
spec = open("/data/parameter.json").read()
chosen = options if "pool" in sys.argv else {}
preprocess(spec, runner="local", out=sys.argv[1], runner_options=chosen)
"""


def buildah(*words: str) -> str:
    words = (BUILDAH, *words)
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the containers see as /data."""
    folder = tmp_path_factory.mktemp("data")
    draw = random.Random(7)  # noqa: S311 - test data
    rows = [
        f"t{i},{draw.uniform(0, 10):.3f},{draw.choice(['red', 'green'])},{draw.random():.3f}"
        for i in range(600)
    ]
    (folder / "toys.csv").write_text("\n".join(["id,size,colour,noise", *rows]) + "\n")
    (folder / "toys.yaml").write_text(yaml.safe_dump(SPEC))
    parameter = {**SPEC, "source": {"uri": "/data/toys.csv"}}
    (folder / "parameter.json").write_text(json.dumps(parameter))
    for readable in (folder, *folder.parents[:2]):
        readable.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    name = buildah("from", "--pull-never", IMAGE)
    yield name
    buildah("rm", name)


def command(container: str, folder: Path, *words: str, user: str = "0", **env: str) -> list[str]:
    sets = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    # Beam sends a pool's workers to the launching machine by its name: one that both know.
    run = [BUILDAH, "run", *ISOLATED, "--hostname", "localhost", "--user", user, *sets]
    return [*run, "--volume", f"{folder}:/data:rw", container, "--", *words]


def run_in(container: str, folder: Path, *words: str) -> str:
    completed = subprocess.run(
        command(container, folder, *words), capture_output=True, text=True, timeout=300
    )
    assert completed.returncode == 0, completed.stdout[-2000:] + completed.stderr[-2000:]
    return completed.stdout


@contextlib.contextmanager
def served(
    container: str, folder: Path, *words: str, user: str = "0", **env: str
) -> Iterator[None]:
    child = subprocess.Popen(
        command(container, folder, *words, user=user, **env), start_new_session=True, text=True
    )
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def ask(url: str, body: Any = None) -> Any:
    """Asks until somebody answers."""
    data = None if body is None else json.dumps(body).encode()
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, data, timeout=10) as answer:  # noqa: S310
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError) as error:
            loads = isinstance(error, urllib.error.HTTPError) and error.code == 503
            if isinstance(error, urllib.error.HTTPError) and not loads:
                return json.load(error)
            if time.monotonic() > deadline:
                pytest.fail(f"nobody answers at {url}: {error}")
            time.sleep(0.5)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def run(container: str, folder: Path) -> Path:
    """A whole run in the image."""
    run_in(container, folder, "quatrain", "run", "/data/toys.yaml", "--root", "/data/runs")
    return (folder / "runs/toys/latest").resolve()


def config_of(image: str) -> dict[str, Any]:
    """The image's configuration, as a registry keeps it."""
    config: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]
    return config


def test_it_is_built_for_linux_amd64_and_labelled_by_its_accelerator() -> None:
    config = config_of(IMAGE)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Labels"]["quatrain.accelerator"] == "cpu"


def test_it_runs_as_root_finds_the_driver_and_asks_no_index(container: str, folder: Path) -> None:
    assert not config_of(IMAGE)["config"].get("User")
    script = "import os; print(os.getuid(), os.environ['PIP_NO_INDEX'], *map(os.environ.get, "
    script += "['LD_LIBRARY_PATH', 'PATH']))"
    uid, no_index, libraries, path = run_in(container, folder, "python", "-c", script).split()
    assert (uid, no_index) == ("0", "1")
    assert "/usr/local/nvidia/lib64" in libraries.split(":")
    assert {"/opt/quatrain/bin", "/usr/local/nvidia/bin"} <= set(path.split(":"))


@pytest.mark.parametrize("accelerator", ["cuda", "tpu"])
def test_an_image_for_accelerators_is_labelled_as_such(accelerator: str, tmp_path: Path) -> None:
    # Its packages are GB of libraries for hardware that is not here: tests/image/test_locks.py.
    text, stubs = re.subn(
        r"^FROM \S+ AS build$.*?(?=^FROM )",
        "FROM ${PYTHON} AS build\nRUN mkdir /opt/quatrain\n\n",
        (ROOT / "Dockerfile").read_text(),
        flags=re.M | re.S,
    )
    assert stubs == 1
    (tmp_path / "Dockerfile").write_text(text)
    tag = f"quatrain:stub-{accelerator}"
    built = ("--build-arg", f"EXTRA={accelerator}", "--tag", tag)
    buildah("bud", "--quiet", "--pull-never", *ISOLATED, *built, str(tmp_path))
    config = config_of(tag)["config"]
    assert config["Labels"]["quatrain.accelerator"] == accelerator
    assert not config.get("User")
    assert "LD_LIBRARY_PATH=/usr/local/nvidia/lib64" in config["Env"]


def test_a_wrong_accelerator_ends_the_build_before_anything_is_installed() -> None:
    build = [BUILDAH, "bud", "--pull-never", *ISOLATED, "--target", "build"]
    build += ["--build-arg", "EXTRA=gpu", "--file", str(ROOT / "Dockerfile"), str(ROOT)]
    completed = subprocess.run(build, capture_output=True, text=True, timeout=120)
    assert completed.returncode != 0
    assert "EXTRA is 'gpu'; write cpu, cuda or tpu" in completed.stderr
    assert "Collecting" not in completed.stdout


def test_each_of_the_four_steps_runs_in_the_image(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert [(s["name"], s["status"]) for s in record["steps"]] == [
        (step, "succeeded") for step in ("preprocess", "package", "train", "evaluate")
    ]
    assert (run / "report.html").is_file()


def test_beam_gives_the_same_bytes_on_a_worker_pool_in_the_image(
    container: str, folder: Path
) -> None:
    boot = json.loads(buildah("inspect", "--type", "image", IMAGE))
    (entrypoint,) = boot["OCIv1"]["config"]["Entrypoint"]
    run_in(container, folder, "python", "-c", PREPROCESS, "/data/here")
    with served(container, folder, entrypoint, "--worker_pool"):
        time.sleep(10)
        run_in(container, folder, "python", "-c", PREPROCESS, "/data/there", "pool")
    assert digests(folder / "here") == digests(folder / "there")


def test_the_server_needs_no_root_and_answers_over_http_what_evaluate_saw(
    container: str, folder: Path, run: Path
) -> None:
    model = "/data/" + str((run / "model").resolve().relative_to(folder))
    variables = {
        "AIP_STORAGE_URI": model,
        "AIP_HTTP_PORT": "18080",
        "AIP_HEALTH_ROUTE": "/v1/health",
        "AIP_PREDICT_ROUTE": "/v1/predict",
    }
    server = ("python", "-m", "quatrain.components.serve.server")
    with served(container, folder, *server, user="10001", **variables):
        assert ask("http://127.0.0.1:18080/v1/health") == {}
        instances = [{"size": 9.9, "colour": "green"}, {"size": None, "colour": "red"}]
        answer = ask("http://127.0.0.1:18080/v1/predict", {"instances": instances})
        wrong = ask("http://127.0.0.1:18080/v1/predict", {"instances": [{"siz": 1}]})
    assert [p["classes"] for p in answer["predictions"]] == [["false", "true"]] * 2
    assert answer["predictions"][0]["predicted_class"] == "true"
    assert sum(answer["predictions"][1]["probabilities"]) == pytest.approx(1)
    assert wrong == {"error": "instances[0]: unknown input 'siz'; did you mean 'size'?"}
