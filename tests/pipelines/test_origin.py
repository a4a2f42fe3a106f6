"""A pipeline file that `quatrain compile` would not write is a program of somebody else's."""

import copy

import pytest
import yaml

from quatrain.pipelines.compiled import PipelineError, compile_pipeline, read_compiled
from quatrain.pipelines.origin import check_origin

IMAGE = "europe-west1-docker.pkg.dev/p/r/quatrain@sha256:" + "0a" * 32
LAUNCHER = "europe-west1-docker.pkg.dev/p/r/launcher@sha256:" + "0b" * 32
STEPS = ("components", "comp-exit-handler-1", "dag", "tasks")
GATE = ("deploymentSpec", "executors", "exec-gate", "container")


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = compile_pipeline(tmp_path_factory.mktemp("compiled") / "training.yaml", IMAGE)
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"image": IMAGE},
        {"image": "localhost:5000/quatrain:0.2.0-cpu", "launcher_image": LAUNCHER},
        {"image": IMAGE, "retries": 10, "memory": "32G", "cpu": "8"},
        {"image": IMAGE, "retries": 1, "memory": "500Mi"},
        {"cpu": "16"},
    ],
)
@pytest.mark.parametrize("name", ["training.yaml", "training.json"])
def test_whatever_compile_writes_is_its_own(tmp_path, settings, name):
    check_origin(read_compiled(compile_pipeline(tmp_path / name, **settings)))


def test_only_what_a_file_says_counts_not_how_it_is_laid_out(tmp_path, document):
    path = tmp_path / "training.yaml"
    path.write_text("# mine\n" + yaml.safe_dump(document, default_flow_style=True, width=1_000))
    check_origin(read_compiled(path))


def at(document, *keys):
    for key in keys:
        document = document[key]
    return document


def command(text):
    return lambda d: at(d, *GATE)["command"].__setitem__(2, text)


def append(text):
    return lambda d: command(at(d, *GATE)["command"][2] + text)(d)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (command("curl x | sh"), "container.command[2] is 'curl x | sh' instead of "),
        (append("curl x | sh\n"), "$@\"\\ncurl x | sh\\n' instead of "),
        (
            lambda d: at(d, *GATE)["command"].append("x"),
            "deploymentSpec.executors.exec-gate.container.command has ",
        ),
        (
            lambda d: at(d, *GATE).update(env=[{"name": "LD_PRELOAD", "value": "/x.so"}]),
            "it has deploymentSpec.executors.exec-gate.container.env;",
        ),
        (
            lambda d: at(d, *GATE).update(image="docker.io/somebody/else:1"),
            "instead of ",
        ),
        (
            lambda d: at(d, *GATE).update(image="x; curl x"),
            "exec-gate.container.image is 'x; curl x' instead of ",
        ),
        (
            lambda d: at(d, *GATE).update(resources={"resourceCpuLimit": "8; x"}),
            "it has deploymentSpec.executors.exec-gate.container.resources;",
        ),
        (
            lambda d: at(d, *STEPS).pop("evaluate"),
            "it lacks components.comp-exit-handler-1.dag.tasks.evaluate",
        ),
        (
            lambda d: at(d, *STEPS, "train").update(retryPolicy={"maxRetryCount": 3}),
            "retryPolicy",
        ),
        (
            lambda d: at(d, *STEPS, "train", "cachingOptions").update(enableCache=True),
            "comp-exit-handler-1.dag.tasks.train.cachingOptions",
        ),
        (
            lambda d: at(d, "root", "inputDefinitions", "parameters", "train_image").update(
                defaultValue="docker.io/somebody/else:1"
            ),
            "parameters.train_image.defaultValue is 'docker.io/somebody/else:1' instead of ",
        ),
        (lambda d: d.update(sdkVersion="kfp-2.0.0"), "sdkVersion is 'kfp-2.0.0' instead of 'kfp-"),
    ],
)
def test_any_other_file_is_refused_by_its_first_difference(tmp_path, document, change, sentence):
    changed = copy.deepcopy(document)
    change(changed)
    path = tmp_path / "training.yaml"
    path.write_text(yaml.safe_dump(changed))
    with pytest.raises(PipelineError) as refused:
        check_origin(read_compiled(path))
    begin = f"{path}: is not what `quatrain compile` of this version writes: "
    assert str(refused.value).startswith(begin)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(
        "; a pipeline file is a program that runs with your rights, so write one with `quatrain "
        "compile -o FILE`, or add --trust if you trust whoever wrote this one"
    )
    assert len(str(refused.value)) < 600


def test_a_second_document_is_a_difference(tmp_path, document):
    path = tmp_path / "training.yaml"
    path.write_text(yaml.safe_dump(document) + "---\nplatforms: {kubernetes: {}}\n")
    with pytest.raises(PipelineError, match="it has 2 documents instead of 1"):
        check_origin(read_compiled(path))


def test_the_image_of_the_launchers_may_be_prescribed(tmp_path):
    path = compile_pipeline(tmp_path / "training.yaml", IMAGE, launcher_image=LAUNCHER)
    check_origin(read_compiled(path), LAUNCHER)
    with pytest.raises(PipelineError, match=f"container.image is '{LAUNCHER[:12]}"):
        check_origin(read_compiled(path), "gcr.io/ml-pipeline/launcher:1")


def test_a_file_of_the_first_version_asks_to_be_compiled_anew(tmp_path, document):
    old = copy.deepcopy(document)
    at(old, "root", "inputDefinitions", "parameters", "spec")["parameterType"] = "STRUCT"
    path = tmp_path / "training.yaml"
    path.write_text(yaml.safe_dump(old))
    sentence = "was compiled by Quatrain 0.1; write a new one with `quatrain compile -o FILE`$"
    with pytest.raises(PipelineError, match=sentence):
        check_origin(read_compiled(path))


def test_a_file_that_changes_once_it_is_read_is_judged_by_what_was_read(tmp_path, document):
    path = tmp_path / "training.yaml"
    own = yaml.safe_dump(document)
    command("echo somebody's")(document)
    path.write_text(yaml.safe_dump(document))
    compiled = read_compiled(path)
    path.write_text(own)
    with pytest.raises(PipelineError, match="is not what `quatrain compile` of this version"):
        check_origin(compiled)
