"""The trainer's sdist trains and answers on the Pythons and TensorFlows that its metadata allows.

Not collected by `make test`: `make compat` names this file. Each case makes an environment of its
own below build/compat, from the index; a Python, or gcloud, that is not installed is left out, and
said so. The case `tpu` is the environment of the image for TPUs, without a TPU.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import tensorflow as tf

from quatrain.components.artifacts import sha256_of
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.package.publishing import default_trainer_dir
from quatrain.components.package.sdist import build_sdist
from tests.components import handmade
from tests.trainer.small import write_examples

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv"))
CASES = [
    (python, ends)
    for python in ("3.10", "3.11", "3.12", "3.13")
    for ends in ("lowest-direct", "highest")
    if (python, ends) != ("3.13", "lowest-direct")  # TensorFlow has wheels of it since 2.20
]
ANSWER = """
import json, sys
import tensorflow as tf
from trainer import golden
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
types = {n: spec.dtype for n, spec in signature.structured_input_signature[1].items()}
def answer(rows, output):
    tensors = {n: tf.constant(values, types[n]) for n, values in rows.items()}
    return signature(**tensors)[output].numpy()
golden.replay(open(sys.argv[1] + "/golden.json").read(), answer, tf.__version__)
print(json.dumps([tf.__version__, sys.version_info[:2]]))
"""


def interpreter(version: str) -> str | None:
    """Returns a Python of a version that runs, or None."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for program in (f"python{version}", *map(str, reversed(pyenv))):
        ask = [program, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            completed = subprocess.run(ask, capture_output=True, text=True)
        except OSError:
            continue
        if completed.returncode == 0 and completed.stdout.strip() == version:
            return program
    return None


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sdist(default_trainer_dir(), tmp_path_factory.mktemp("sdist")).path


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("small") / "examples")


@pytest.mark.parametrize(("python", "ends"), CASES)
def test_the_sdist_trains_and_answers(
    python: str, ends: str, sdist: Path, examples: Path, tmp_path: Path
) -> None:
    program = interpreter(python)
    if program is None:
        pytest.skip(f"Python {python} is not installed")
    folder = ROOT / "build" / "compat" / f"{python}-{ends}"
    ours = str(folder / "bin" / "python")
    if not Path(ours).exists():
        subprocess.run([UV, "venv", "-q", "--python", program, str(folder)], check=True)
    # Named directly, so that `lowest-direct` takes the lowest of what the metadata allows.
    project = tomllib.loads((default_trainer_dir() / "pyproject.toml").read_text())["project"]
    install = [UV, "pip", "install", "-q", "--python", ours, "--resolution", ends]
    install += ["--reinstall-package", "quatrain-trainer", str(sdist), *project["dependencies"]]
    subprocess.run(install, check=True)
    options = ["--examples", str(examples), "--job-dir", str(tmp_path), "--epochs", "2"]
    called(ours, "-m", "trainer.task", *options, cwd=tmp_path)
    answer = called(ours, "-c", ANSWER, str(tmp_path / "model"), cwd=tmp_path).stdout
    tensorflow, version = json.loads(answer.splitlines()[-1])
    assert ".".join(map(str, version)) == python
    print(f"Python {python}, TensorFlow {tensorflow}: trained and answered")


# libtpu looks for the TPU of a machine for minutes, unless it is left out or everything is stated.
NO_TPU = {"TPU_LOAD_LIBRARY": "0"}
V5E = {
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_CHIPS_PER_HOST_BOUNDS": "2,4,1",
    "TPU_HOST_BOUNDS": "1,1,1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


def called(
    python: str, *arguments: str, cwd: Path, code: int = 0, settings: Mapping[str, str] = NO_TPU
) -> subprocess.CompletedProcess:
    """Runs an environment's Python, without the paths of this one; it ends with an exit code."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    completed = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert completed.returncode == code, completed.stderr[-3000:]
    return completed


@pytest.fixture(scope="module")
def tpu(sdist: Path) -> str:
    """The Python of an environment with the locked requirements of the image for TPUs."""
    digests = "".join(sha256_of(ROOT / f"requirements/{n}.txt") for n in ("bootstrap", "tpu"))
    folder = ROOT / "build/compat/tpu"
    ours, ready = str(folder / "bin/python"), folder / "ready"
    install = [UV, "pip", "install", "-q", "--python", ours]
    if not ready.exists() or ready.read_text() != digests:
        subprocess.run(
            [UV, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True
        )
        for name in ("bootstrap", "tpu"):
            locked = ["--require-hashes", "--no-build-isolation", "-r", f"requirements/{name}.txt"]
            subprocess.run([*install, *locked], cwd=ROOT, check=True)
        ready.write_text(digests)
    alone = ["--no-deps", "--no-build-isolation", "--reinstall-package", "quatrain-trainer"]
    subprocess.run([*install, *alone, str(sdist)], check=True)
    return ours


def test_tpu_evaluate_scores_what_its_environment_trained(tpu: str, tmp_path: Path) -> None:
    gate = {"log_loss": {"max": 0.65}, "auc": {"min": 0.6}}
    spec = handmade.make_spec(gate=gate)
    sizes = {"train": 2000, "validation": 500, "test": 700}
    rows = {s: handmade.make_rows(n, seed=seed) for seed, (s, n) in enumerate(sizes.items())}
    examples = handmade.write_examples(tmp_path / "examples", rows, spec=spec)
    options = ["--examples", str(examples), "--job-dir", str(tmp_path), "--epochs", "3"]
    called(tpu, "-m", "trainer.task", *options, cwd=tmp_path)
    model = str(tmp_path / "model")
    ours = ANSWER.replace("from trainer", "from quatrain.trainer")
    for python, code, version in ((tpu, ANSWER, "2.20.0"), (sys.executable, ours, tf.__version__)):
        answer = called(python, "-c", code, model, cwd=tmp_path).stdout
        assert json.loads(answer.splitlines()[-1])[0] == version
    metrics = evaluate_model(spec, examples, tmp_path, tmp_path / "evaluation")
    assert metrics["gate"]["passed"], metrics["gate"]
    print("TensorFlow 2.20.0 for TPUs: trained and answered; evaluated by", tf.__version__)


def test_tpu_has_every_operation_of_the_steps(tpu: str, tmp_path: Path) -> None:
    tasks = ("binary", "multiclass", "regression")
    folders = [str(write_examples(tmp_path / task, task, weighted=True)) for task in tasks]
    module = ["-m", "tests.compat.tpu_operations"]
    settings = {**V5E, "PYTHONPATH": str(ROOT)}
    printed = called(tpu, *module, *folders, cwd=tmp_path, settings=settings).stdout
    steps, operations, wrong = json.loads(printed.splitlines()[-1])
    assert wrong == []
    assert steps == 12  # to train and to evaluate, of two networks for three tasks
    assert "ResourceApplyAdam" in operations
    print(f"XLA has all {len(operations)} operations of the steps for TPUs")


def test_tpu_without_one_is_refused_in_a_sentence(tpu: str, examples: Path, tmp_path: Path) -> None:
    options = ["--examples", str(examples), "--job-dir", str(tmp_path)]
    options += ["--strategy", "tpu", "--tpus", "8"]
    called(tpu, "-m", "trainer.task", *options, cwd=tmp_path, code=3)
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert failure["reason"] == "TensorFlow 2.20.0 finds no TPU on this machine"
    assert not (tmp_path / "model").exists()


def test_gcloud_trains_the_folder_here(examples: Path, tmp_path: Path) -> None:
    """As the old AI Platform's `local train` did: the folder, not the sdist, by module name."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("gcloud is not installed")
    command = [gcloud, "ai-platform", "local", "train"]
    command += ["--package-path", str(default_trainer_dir()), "--module-name", "trainer.task"]
    command += ["--job-dir", str(tmp_path / "job"), "--"]
    command += ["--examples", str(examples), "--epochs", "1", "--max-steps", "1"]
    settings = {
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_ML_ENGINE_LOCAL_PYTHON": sys.executable,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    completed = subprocess.run(
        command, cwd=tmp_path, env={**environment, **settings}, capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stderr[-3000:]
    assert (tmp_path / "job/model/saved_model.pb").is_file(), completed.stderr[-3000:]
    print("gcloud ai-platform local train: trained")
