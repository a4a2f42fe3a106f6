"""Proves a trainer package: runs the checks that it must pass before it is published."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quatrain.components.errors import PackageError
from quatrain.components.package import isolation
from quatrain.components.package.child import run_python
from quatrain.components.package.sdist import Sdist, build_sdist
from quatrain.components.package.sources import PACKAGE

TIMEOUT_S = 600
"""The longest time of one child process; training one step takes some seconds."""

_SERVICE = ("AIP_", "CLOUD_ML_", "TF_CONFIG", "CLUSTER_SPEC")
_ANSWER = Path(__file__).with_name("answer.py")


@dataclass(frozen=True)
class Check:
    """One check of `package.json`."""

    name: str
    passed: bool
    detail: str


class _Prover:
    """The checks of one package; each returns a detail, or raises PackageError with the reason."""

    def __init__(
        self,
        trainer_dir: Path,
        examples: str,
        built: Sdist,
        work: Path,
        model: str,
        own: Path | None,
    ) -> None:
        self._trainer_dir, self._examples, self._built = trainer_dir, examples, built
        self._model = model
        self._work = work
        self._site = work / "site"
        self._own = own
        self._sample = work / "sample"
        self._env: dict[str, str] = {}

    def metadata(self) -> str:
        """Checks that the core metadata of the package is valid."""
        from packaging.metadata import InvalidMetadata, Metadata

        with tarfile.open(self._built.path, "r:gz") as tar:
            name = next(n for n in tar.getnames() if n.count("/") == 1 and n.endswith("/PKG-INFO"))
            stream = tar.extractfile(name)
            text = stream.read() if stream else b""
        try:
            read = Metadata.from_email(text, validate=True)
        except (InvalidMetadata, ExceptionGroup) as error:
            reasons = getattr(error, "exceptions", [error])
            raise PackageError("; ".join(map(str, reasons))) from error
        return f"{read.name} {read.version}, metadata {read.metadata_version}"

    def reproducible(self) -> str:
        """Checks that a second build of the same sources gives the same bytes."""
        folder = self._work / "second"
        folder.mkdir()
        second = build_sdist(self._trainer_dir, folder)
        if second.sha256 != self._built.sha256:
            raise PackageError(
                f"two builds of the same sources give {self._built.sha256[:12]} and "
                f"{second.sha256[:12]}; the build writes something that changes, like the time"
            )
        return f"two builds give sha256 {self._built.sha256}"

    def installs(self) -> str:
        """Checks that the package installs alone, and that `import trainer` loads its own files."""
        self._site = isolation.install(self._built.path, self._work)
        (self._work / "cwd").mkdir()
        environment = isolation.environment(self._site)
        self._env = {k: v for k, v in environment.items() if not k.startswith(_SERVICE)}
        # The proof is about the code: it must neither wait for a GPU nor occupy one.
        self._env |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        isolation.prove(self._site, self._env, self._work / "cwd")
        installed = sorted(p.name for p in self._site.iterdir())
        return f"alone and offline: {', '.join(installed)}"

    def help(self) -> str:
        """Checks that the trainer's command line starts."""
        text = self._python("-m", "trainer.task", "--help")
        return f"{len(text.splitlines())} lines"

    def trains(self) -> str:
        """Checks that the trainer trains one step on real rows and exports a model."""
        from quatrain.components.package.sample import cut_sample  # reads Parquet: 0.1 CPU-s

        cut_sample(self._examples, self._sample)
        job_dir = str(self._work / "job")
        arguments = ["--examples", str(self._sample), "--job-dir", job_dir]
        arguments += ["--settings", json.dumps({"model": self._model}), "--epochs", "1"]
        arguments += ["--max-steps", "1", "--package-sha256", self._built.sha256]
        self._python("-m", "trainer.task", *arguments)
        metadata = self._work / "job" / "model" / "metadata.json"
        if not metadata.is_file():
            raise PackageError("it ended well, but model/metadata.json is not there")
        return f"{json.loads(metadata.read_bytes())['steps']} step on real rows"

    def answers(self) -> str:
        """Checks that the exported model answers a raw row, in a process of its own."""
        from quatrain.components.package.sample import raw_row

        row = self._work / "row.json"  # a row of 5 000 columns is too long for an argument
        row.write_text(json.dumps(raw_row(self._sample)), encoding="utf-8")
        text = self._python(str(_ANSWER), str(self._work / "job" / "model"), str(row))
        return text.strip().splitlines()[-1]

    def _python(self, *arguments: str) -> str:
        """Runs Python where only the package and the image can be imported."""
        cwd, installed = self._work / "cwd", self._site / PACKAGE
        own = {}
        if self._own:
            own = {installed / "model.py" if self._own.is_file() else installed: self._own.name}
        return run_python(*arguments, cwd=cwd, env=self._env, timeout_s=TIMEOUT_S, own=own)


WAYS_OUT: Mapping[str, str] = {
    "metadata": "mend [project] in the trainer's pyproject.toml",
    "reproducible": "keep the time and random numbers out of the trainer's build",
    "installs": "the package must build and install from what the image holds",
    "help": "run `python -m trainer.task --help` in the trainer's folder's parent",
    "trains": "run the trainer on a few rows with --settings '{}' --max-steps 1",
    "answers": "export a serving_default signature that takes the raw inputs by name",
}
"""The checks in their order, and the way out when one fails."""


def prove(
    trainer_dir: Path,
    examples: str,
    built: Sdist,
    model: str = "auto",
    own: Path | None = None,
) -> list[dict[str, Any]]:
    """Runs all checks and returns their records.

    Args:
        trainer_dir: The sources of the package.
        examples: Engineered rows; a handful of them trains the proof.
        built: The package.
        model: The kind of model that the proof trains, a value of `train.model`.
        own: The user's folder, or the file that is its model.py; an error names a line of it.

    Raises:
        PackageError: A check failed; the message names it, the reason and the way out.
    """
    with tempfile.TemporaryDirectory(prefix="quatrain-proof-") as folder:
        prover = _Prover(trainer_dir, examples, built, Path(folder), model, own)
        # The second build runs beside the other checks, which leave a core idle at times.
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(_checked, "reproducible", prover.reproducible)
            checks = [_checked("metadata", prover.metadata)]
            for name in ("installs", "help", "trains", "answers"):
                checks.append(_checked(name, getattr(prover, name)))
            checks.insert(1, second.result())
    return [asdict(check) for check in checks]


def _checked(name: str, check: Callable[[], str]) -> Check:
    """Runs one check and prints its result; a failed one is raised with its way out."""
    print(f"package: {name} ...", flush=True)
    try:
        detail = check()
    except PackageError as error:
        raise PackageError(
            f"the trainer package failed its check {name!r}: {error}\n"
            f"way out: {WAYS_OUT[name]}; nothing was published"
        ) from error
    print(f"package: {name}: {detail}", flush=True)
    return Check(name, True, detail)
