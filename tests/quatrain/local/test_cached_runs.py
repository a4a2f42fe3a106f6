"""A run takes its examples from an earlier one, unless something that preprocess reads changed."""

import io
import json

import pytest
from kfp import compiler, dsl

from quatrain.components.specification.schema import ModelSpec
from quatrain.local.run import StepFailed, run_pipeline
from quatrain.pipelines.training import _prepare

ROWS = "".join(f"{n},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(400))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The preprocess step alone, as the pipeline has it."""

    def configure(task, *, repeatable=True, cached=False):
        return task.set_caching_options(cached)

    prepare = _prepare(configure, "image")

    @dsl.pipeline(name="preprocessing")
    def preprocessing(
        spec: str,
        project: str,
        location: str,
        root: str,
        tier: str = "",
        runner: str = "local",
        runner_options: dict = {},  # noqa: B006 - compiled, never called with it
        at: str = "",
        sample_rows: int = 0,
        cache_key: str = "",
    ):
        prepare(
            spec=spec,
            root=root,
            runner=runner,
            runner_options=runner_options,
            project=project,
            location=location,
            at=at,
            sample_rows=sample_rows,
            cache_key=cache_key,
        )

    path = tmp_path_factory.mktemp("pipeline") / "preprocessing.yaml"
    compiler.Compiler().compile(preprocessing, str(path))
    return path


class Table:
    """A table, its spec and the root of its runs."""

    def __init__(self, folder, pipeline):
        self.folder, self.pipeline = folder, pipeline
        self.root = folder / "runs"
        self.path = folder / "t.csv"
        self.path.write_text("id,x,y\n" + ROWS)
        self.document = {
            "name": "t",
            "source": {"uri": [str(self.path)]},
            "columns": {"id": "string", "x": "int", "y": "string"},
            "label": "y",
            "task": "binary",
            "split": {"by": "hash", "keys": ["id"]},
            "features": [{"name": "x", "from": "x", "transform": "standardize"}],
        }

    def run(self, cached=True, at="", **sections):
        """Returns the run's folder, the run that its examples are from, and what was printed."""
        spec = ModelSpec.model_validate({**self.document, **sections})
        screen = io.StringIO()
        run = run_pipeline(
            self.pipeline, spec, self.root, at=at, stream=screen, trust=True, cached=cached
        )
        record = json.loads((run.folder / "run.json").read_text())
        return run.folder, record["steps"][0]["cached"].get("examples", ""), screen.getvalue()


def content(run):
    folder = (run / "examples").resolve()
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def table(tmp_path_factory, pipeline):
    return Table(tmp_path_factory.mktemp("table"), pipeline)


@pytest.fixture(scope="module")
def first(table):
    return table.run()


def test_an_unchanged_run_takes_its_examples_and_says_from_where(table, first):
    run, maker, screen = table.run()
    assert (first[1], maker) == ("", first[0].name)
    assert f"examples from the cache (run {maker}): 400 rows: " in screen
    log = (run / "logs/preprocess.log").read_text()
    assert "preprocess: files written" not in log
    assert f"preprocess: examples of run {maker}\n" in log
    assert len(content(run)) == 8 and content(run) == content(first[0])
    assert (run / "rejected").is_dir() and (run / "drift.json").exists()


def test_what_preprocess_does_not_read_changes_nothing(table, first):
    sections = {
        "train": {"epochs": 3, "tier": "STANDARD_1", "replicas": 2},
        "evaluate": {"gate": {"auc": {"min": 0.9}}, "report_rows": 0},
        "drift": {"mean": {"warn": 1}},
    }
    assert table.run(at="2013-07-01", **sections)[1] == first[0].name


def test_without_the_cache_all_is_done_again_to_the_same_bytes(table, first):
    run, maker, _ = table.run(cached=False)
    assert maker == "" and content(run) == content(first[0])
    assert json.loads((run / "run.json").read_text())["arguments"]["cache_key"]


def test_altered_examples_are_reported_and_made_again(table, first):
    run, maker, _ = table.run()
    assert maker
    shard = next((run / "examples").glob("train-*.parquet"))
    data = shard.read_bytes()
    shard.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    again, maker, screen = table.run()
    assert maker == "" and content(again) == content(first[0])
    assert f"not taken from the cache, but made again: {shard.resolve()} was altered" in screen


def test_a_failed_preprocess_is_never_taken(tmp_path, pipeline):
    table = Table(tmp_path, pipeline)
    with pytest.raises(StepFailed, match="rejected"):
        table.run(clean={"reject": {"odd": "x > 1"}, "max_rejected": 0.1})
    assert not (table.root / ".cache").exists()
