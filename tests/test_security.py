"""Hostile documents are refused, and nothing that is secret travels with a job."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quatrain.components.errors import QuatrainError
from quatrain.components.preprocess.job import rules_of
from quatrain.components.tiers import prices
from quatrain.components.train.plan import resolve_tier, trainer_arguments
from quatrain.pipelines.compiled import compile_pipeline, read_compiled
from quatrain.validation.load import load_spec, validate
from quatrain.vertex.cloud_file import load_cloud
from quatrain.vertex.submission import make_job
from tests.quatrain.conftest import SPEC
from tests.quatrain.vertex.doctor.test_examination import CLOUD

ROOT = Path(__file__).parents[1]
READERS = [load_spec, load_cloud, read_compiled, prices.load_prices]
NAMES = ["spec", "cloud", "pipeline", "prices"]


def spec_of(**changes):
    return {**SPEC, "source": {"uri": ["gs://data/*.csv"]}, **changes}


@pytest.mark.parametrize("read", READERS, ids=NAMES)
@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:subprocess.Popen [[touch, '{mark}']]",
        "!!python/name:os.system",
        "!include {mark}",
    ],
)
def test_a_tag_that_would_make_an_object_is_refused(tmp_path, read, tag):
    mark = tmp_path / "mark"
    path = tmp_path / "hostile.yaml"
    path.write_text(f"name: {tag.format(mark=mark)}\n")
    with pytest.raises(QuatrainError, match="is not YAML"):
        read(path)
    assert not mark.exists()


@pytest.mark.parametrize("read", READERS[:2], ids=NAMES[:2])
@pytest.mark.parametrize("key", ["name", "label", "source", "labels", "features"])
def test_aliases_that_would_fill_the_memory_are_refused(tmp_path, read, key):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, f"{key}: *a9", ""]))
    with pytest.raises(QuatrainError, match="more than 1,000,000 values, each alias counted"):
        read(path)
    path.write_text("a: &a [*a]\n")
    with pytest.raises(QuatrainError, match="more than 1,000,000 values"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"clean": {"reject": {"r": "x = '{{$.inputs.parameters[''project'']}}'"}}}, "clean.rej"),
        ({"source": {"uri": "gs://b/{{$.pipeline_job_name}}.csv"}}, "source.uri"),
        ({"columns": {"x": "float", "y": "bool", "{{$}}": "int"}}, "columns"),
    ],
)
def test_a_placeholder_in_a_spec_is_refused(changes, place):
    with pytest.raises(QuatrainError) as refused:
        validate(spec_of(**changes))
    assert f"spec: {place}" in str(refused.value)
    assert "holds '{{$', which a pipeline replaces" in str(refused.value)


@pytest.mark.parametrize(
    "name", ["x; rm -rf /", "$(touch x)", "../../x", "X", "-x", "x\ny", "", "a" * 64, "x/y"]
)
def test_a_model_s_name_is_neither_a_command_nor_a_path(name):
    with pytest.raises(QuatrainError, match="spec: name: must be lower-case letters"):
        validate(spec_of(name=name))


def test_columns_and_texts_of_a_spec_never_reach_a_command():
    nasty = "--epochs $(touch x)"
    columns = {"x": "float", "y": "bool", nasty: "string"}
    spec = validate(spec_of(columns=columns, evaluate={"slices": [nasty]}))
    arguments = trainer_arguments(spec.train.settings, "gs://b/examples", resolve_tier(spec))
    assert not [argument for argument in arguments if "touch" in argument]
    assert all(isinstance(argument, str) for argument in arguments)


@pytest.mark.parametrize(
    "rule",
    [
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "getenv('HOME') = ''",
        "x = 1; COPY (SELECT 1) TO '/dev/null'",
        "x IN (FROM glob('/*'))",
    ],
)
def test_a_rule_that_looks_outside_the_row_is_refused(rule):
    spec = validate(spec_of(clean={"reject": {"r": rule}}))
    (problem,) = rules_of(spec).problems
    assert problem.startswith("clean.reject.r: ")


@pytest.mark.parametrize(
    "uri", ["s3://KEY:s3cr3t@bucket/x.csv", "https://me:s3cr3t@host/x.csv", "gs://:s3cr3t@b/x"]
)
def test_a_password_in_a_uri_is_refused_and_not_repeated(uri):
    with pytest.raises(QuatrainError, match="holds a password") as refused:
        validate(spec_of(source={"uri": uri}))
    assert "s3cr3t" not in str(refused.value)


def test_no_secret_of_the_environment_and_no_path_is_in_the_compiled_file(tmp_path):
    secrets = {
        "PIP_INDEX_URL": "https://me:s3cr3t@index/simple",
        "GOOGLE_APPLICATION_CREDENTIALS": "/s3cr3t/key.json",
        "QUATRAIN_TOKEN": "s3cr3t",
        "KFP_PIP_INDEX_URLS": "s3cr3t",
        "USER": "s3cr3t",
    }
    code = "import sys, pathlib; from quatrain.pipelines.compiled import compile_pipeline as c\n"
    code += "c(pathlib.Path(sys.argv[1]), sys.argv[2])"
    path = tmp_path / "training.yaml"
    command = [sys.executable, "-c", code, str(path), CLOUD["image"]]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **secrets}, check=True)
    text = path.read_text()
    assert "s3cr3t" not in text
    assert str(ROOT) not in text and str(tmp_path) not in text and str(Path.home()) not in text


def test_a_job_carries_only_what_it_runs_with(tmp_path, monkeypatch):
    monkeypatch.setenv("QUATRAIN_TOKEN", "s3cr3t")
    (tmp_path / "cloud.yaml").write_text(yaml.safe_dump(CLOUD))
    cloud = load_cloud(tmp_path / "cloud.yaml")
    compiled = read_compiled(compile_pipeline(tmp_path / "training.yaml", cloud.image.steps))
    job = make_job(compiled, validate(spec_of()), cloud)
    assert set(job["labels"]) == {"quatrain", "spec", "template", "image"}
    assert "s3cr3t" not in str(job)
    assert str(tmp_path) not in str(job)
