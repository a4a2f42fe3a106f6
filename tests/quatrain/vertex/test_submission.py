"""A submitted job is the compiled file, unchanged; what goes wrong ends in a sentence."""

import datetime
import hashlib
import json

import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.pipelines.compiled import compile_pipeline
from quatrain.vertex.client import AlreadyExists, NoResponse, NotFound, QuotaExceeded, Vertex
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.schedules.cron import read_cron
from quatrain.vertex.schedules.plan import ScheduleRequest
from tests.emulators import registry as registry_emulator
from tests.quatrain.vertex.conftest import CLOUD, CRON, IMAGE, posted

FULL = {
    "psc_interface": "projects/my-project/regions/europe-west1/networkAttachments/a",
    "encryption_key": "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k",
    "failure_policy": "slow",
}


def test_the_posted_pipeline_is_the_compiled_file(google, quatrain, training_path):
    code, out, err = quatrain("submit", "toy.yaml")
    assert code == 0, err
    job = posted(google)
    assert job["pipelineSpec"] == yaml.safe_load(training_path.read_bytes())
    digest = hashlib.sha256(training_path.read_bytes()).hexdigest()
    assert f"file   sha256 {digest}\n" in out
    assert job["labels"]["template"] == digest[:40]
    job_id = job["name"].rsplit("/", 1)[1]
    assert f"job    {job_id}\n" in out
    assert f"/locations/europe-west1/pipelines/runs/{job_id}?project=my-project" in out


def test_a_job_has_its_owner_its_output_folder_and_its_digests(google, quatrain, spec):
    assert quatrain("submit", "toy.yaml", "--tier", "STANDARD_1")[0] == 0
    job = posted(google)
    config = job["runtimeConfig"]
    assert config["gcsOutputDirectory"] == "gs://bucket/quatrain"
    assert config["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_FAST"
    assert config["parameterValues"]["tier"] == "STANDARD_1"
    assert config["parameterValues"]["root"] == config["gcsOutputDirectory"]
    assert config["parameterValues"]["service_account"] == job["serviceAccount"]
    assert job["labels"]["team"] == "search"
    assert job["labels"]["quatrain"] == "toy"
    assert job["labels"]["image"] == "0a" * 20
    assert job["labels"]["spec"] != spec.sha256[:40]  # the source is another


CUDA = IMAGE.replace("0a" * 32, "0c" * 32)


def test_a_training_gets_the_image_for_the_accelerators_of_its_tier(google, quatrain):
    google.images.build(CUDA.partition("@")[2], "cuda")
    own = ["--set-cloud", f"image={{cpu: '{IMAGE}', cuda: '{CUDA}'}}"]
    assert quatrain("submit", "toy.yaml", *own)[0] == 0
    assert "train_image" not in posted(google)["runtimeConfig"]["parameterValues"]
    google.jobs.clear()
    code, _, err = quatrain("submit", "toy.yaml", *own, "--tier", "BASIC_GPU")
    assert code == 0, err
    job = posted(google)
    assert job["runtimeConfig"]["parameterValues"]["train_image"] == CUDA
    assert job["labels"]["image"] == "0a" * 20


@pytest.mark.parametrize(
    "verb",
    [["submit"], ["schedule", "apply", "--cron", "0 3 * * 1"], ["check", "--cloud", "cloud.yaml"]],
)
def test_an_image_that_the_tier_cannot_use_is_refused_by_every_verb(
    google, quatrain, training_path, verb
):
    file = None if verb[0] == "check" else training_path
    code, _, err = quatrain(*verb, "toy.yaml", "--tier", "BASIC_GPU", file=file)
    assert (code, google.calls) == (1, [])
    assert f"image: {IMAGE} is built for cpu by its label quatrain.accelerator, which does" in err
    assert "--build-arg EXTRA=cuda" in err


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "is not in the registry; push it"), (403, "answered 403 to these credentials")],
)
def test_an_absent_image_is_refused_and_one_that_may_not_be_read_is_a_warning(
    google, quatrain, status, words
):
    google.images.status = status
    code, _, err = quatrain("submit", "toy.yaml")
    assert code == (1 if status == 404 else 0)
    assert words in err and (status == 404 or "warning: image: not checked: " in err)


def test_a_rewritten_source_changes_the_label_of_the_job(google, quatrain):
    for _ in range(2):
        assert quatrain("submit", "toy.yaml")[0] == 0
    google.storage.put("gs://bucket/toy.csv", b"x,y\n1,true\n")
    assert quatrain("submit", "toy.yaml")[0] == 0
    data = [job.labels["data"] for job in google.jobs.values()]
    assert data[0] == data[1] != data[2]


def test_no_cache_takes_nothing_from_the_cache(google, quatrain):
    for arguments in ([], ["--no-cache"], ["--no-cache"]):
        assert quatrain("submit", "toy.yaml", *arguments)[0] == 0
    jobs = [aiplatform_v1.PipelineJob.pb(job) for job in google.jobs.values()]
    keys = [job.runtime_config.parameter_values["cache_key"].string_value for job in jobs]
    assert keys == ["", *(job.name.rsplit("/", 1)[1] for job in jobs[1:])]


def test_key_interface_and_policy_reach_the_job_and_its_training(google, quatrain):
    settings = [f"--set-cloud={name}={value}" for name, value in FULL.items()]
    assert quatrain("submit", "toy.yaml", *settings)[0] == 0
    job = posted(google)
    parameters = job["runtimeConfig"]["parameterValues"]
    assert job["encryptionSpec"]["kmsKeyName"] == parameters["encryption_key"]
    attachment = {"network_attachment": job["pscInterfaceConfig"]["networkAttachment"]}
    assert parameters["psc_interface"] == attachment
    assert job["runtimeConfig"]["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_SLOW"


def test_the_experiment_reaches_the_exit_task(google, quatrain):
    assert quatrain("submit", "toy.yaml", "--set-cloud=experiment=toys-weekly")[0] == 0
    job = posted(google)
    assert job["runtimeConfig"]["parameterValues"]["experiment"] == "toys-weekly"
    task = job["pipelineSpec"]["root"]["dag"]["tasks"]["notify"]
    source = task["inputs"]["parameters"]["experiment"]
    assert source == {"componentInputParameter": "experiment"}


def test_reserved_ranges_reach_the_job_and_its_training(google, quatrain):
    network = "--set-cloud=network=projects/12345/global/networks/vpc"
    ranges = "--set-cloud=reserved_ip_ranges=[one, two]"
    code, _, err = quatrain("submit", "toy.yaml", ranges)
    assert (code, "they are ranges of a peered network; set network, too" in err) == (1, True)
    assert quatrain("submit", "toy.yaml", network, ranges)[0] == 0
    job = posted(google)
    assert job["reservedIpRanges"] == ["one", "two"]
    assert job["runtimeConfig"]["parameterValues"]["reserved_ip_ranges"] == ["one", "two"]


def test_the_memory_of_the_steps_stands_in_the_posted_file(google, quatrain):
    for wrong in ("step_memory=lots", "step_memory=32GB", "step_cpu=0.5"):
        assert quatrain("submit", "toy.yaml", f"--set-cloud={wrong}", file=None)[0] == 1
    arguments = ["--set-cloud=step_memory=32Gi", "--set-cloud=step_cpu=8"]
    assert quatrain("submit", "toy.yaml", *arguments, file=None)[0] == 0
    executors = posted(google)["pipelineSpec"]["deploymentSpec"]["executors"]
    resources = executors["exec-preprocess"]["container"]["resources"]
    assert resources["memoryLimit"] == pytest.approx(32 * 1.073741824)
    assert resources["cpuLimit"] == 8


FLINK = {"job_endpoint": "flink:8099", "environment_type": "LOOPBACK"}


@pytest.mark.parametrize(
    ("cloud", "request_", "runner", "options"),
    [
        ({}, [], "local", None),
        ({"runner": "flink", "runner_options": FLINK}, [], "flink", FLINK),
        ({"runner": "flink", "runner_options": FLINK}, ["--runner=local"], "local", None),
        ({"runner_options": FLINK}, [], "local", None),
        ({"runner_options": FLINK}, ["--runner=flink"], "flink", FLINK),
        (
            {"runner": "flink", "runner_options": {**FLINK, "experiments": ["a"]}},
            ["--runner-option=experiments=b", "--runner-option=job_endpoint=other:1"],
            "flink",
            {**FLINK, "job_endpoint": "other:1", "experiments": ["a", "b"]},
        ),
    ],
)
def test_a_runner_of_the_command_line_comes_before_that_of_the_cloud(
    google, quatrain, cloud, request_, runner, options
):
    settings = [f"--set-cloud={name}={json.dumps(value)}" for name, value in cloud.items()]
    code, _, err = quatrain("submit", "toy.yaml", *settings, *request_)
    assert code == 0, err
    parameters = posted(google)["runtimeConfig"]["parameterValues"]
    assert (parameters["runner"], parameters.get("runner_options")) == (runner, options)


def test_a_prediction_is_sent_once_as_its_schedule_would_send_it(google, quatrain, tmp_path):
    words = ["submit", "toy.yaml", "--predict", "--set", "predict.table=bq://my-project.d.answers"]
    code, out, err = quatrain(*words, file=None)
    assert code == 0, err
    assert out.startswith("job    toy-predictions-2")
    job = posted(google)
    file = compile_pipeline(tmp_path / "prediction.yaml", IMAGE, retries=1, predicts=True)
    assert job["pipelineSpec"] == yaml.safe_load(file.read_bytes())
    parameters = job["runtimeConfig"]["parameterValues"]
    assert set(parameters) == {"spec", "project", "location", "root", "runner"}
    assert json.loads(parameters["spec"])["predict"]["table"] == "bq://my-project.d.answers"
    for option in (["--tier", "BASIC_GPU"], ["--no-cache"], ["--wait", "--fallback", "BASIC"]):
        code, _, err = quatrain(*words, *option, file=None)
        assert code == 2
        assert "--predict trains and caches nothing; leave out --" in err
    assert len(google.jobs) == 1


def test_a_tuning_does_not_go_with_a_psc_interface(google, quatrain):
    interface = f"--set-cloud=psc_interface={FULL['psc_interface']}"
    code, _, err = quatrain("submit", "toy.yaml", interface, "--set=train.tune=auto")
    assert code == 1
    assert "train.tune and psc_interface do not go together" in err
    assert not google.jobs


def test_the_end_of_a_window_is_a_parameter_of_a_job_and_else_its_own_time(google, quatrain):
    window = ["--set=source.uri=gs://bucket/{date}.csv", "--set=source.window=9d"]
    yesterday = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)
    for day in ("2013-06-30", yesterday):
        google.storage.put(f"gs://bucket/{day}.csv", b"x,y\n1,true\n")
    assert quatrain("submit", "toy.yaml", *window, "--at", "2013-07-01")[0] == 0
    assert quatrain("submit", "toy.yaml", *window)[0] == 0
    windowed, unwindowed = (aiplatform_v1.PipelineJob.pb(job) for job in google.jobs.values())
    assert windowed.runtime_config.parameter_values["at"].string_value == "2013-07-01"
    assert "at" not in unwindowed.runtime_config.parameter_values
    code, _, err = quatrain("submit", "toy.yaml", "--at", "2013-07-01")
    assert code == 1
    assert "the spec has no window" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "source=/data/toy.csv"], "source.uri: /data/toy.csv is on this machine"),
        (["--set-cloud", "root=gs://wide/q"], "bucket gs://wide is in eu"),
        (["--set-cloud", "root=gs://gone/q"], "bucket gs://gone does not exist, and nothing here"),
        (["--set-cloud", "image=h/p/quatrain:1"], "can move; name it by its digest"),
        (["--set-cloud", "image=h/p/other@sha256:" + "0b" * 32], "but the cloud's image is"),
        (["--set-cloud", "launcher_image=h/l@sha256:" + "0b" * 32], "as launcher, but the cloud's"),
        (["--tier", "BASIK"], "unknown tier 'BASIK'; did you mean 'BASIC'?"),
        (["--set", "source=gs://bucket/none.csv"], "gs://bucket/none.csv does not exist"),
        (["--job-id", "Toy"], "--job-id 'Toy': write a lower-case letter"),
        (["--template", "sha256:0"], "give one"),
        (["--set-cloud", "budget_usd=0.01"], "than the budget of 0.01 USD"),
    ],
)
def test_what_would_fail_is_refused_before_anything_is_sent(google, quatrain, arguments, sentence):
    code, _, err = quatrain("submit", "toy.yaml", *arguments)
    assert (code, google.calls) == (1, [])
    assert sentence in err
    assert "unexpected" not in err


def test_a_pipeline_of_other_parameters_is_refused(google, quatrain, toy_path, tmp_path):
    document = yaml.safe_load(toy_path.read_bytes())
    for executor in document["deploymentSpec"]["executors"].values():
        if executor["container"]["image"] == "toy":
            executor["container"]["image"] = IMAGE
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(document))
    code, _, err = quatrain("submit", "toy.yaml", "--trust", file=tmp_path / "other.yaml")
    assert (code, google.calls) == (1, [])
    assert "other.yaml: has no parameter 'service_account'" in err


def test_an_uploaded_template_is_submitted_by_its_digest(google, quatrain, training_path):
    repository = registry_emulator.Registry()
    with registry_emulator.serving(repository) as url:
        settings = ["--set-cloud", f"registry={url}"]
        code, out, err = quatrain("upload", *settings, "--tag", "v1")
        assert code == 0, err
        digest = out.split()[1]
        assert digest == f"sha256:{hashlib.sha256(training_path.read_bytes()).hexdigest()}"
        code, _, err = quatrain("submit", "toy.yaml", *settings, "--template", digest, file=None)
        assert code == 0, err
    job = posted(google)
    assert job["templateUri"] == f"{url}/quatrain-training/{digest}"
    assert job["pipelineSpec"] == yaml.safe_load(training_path.read_bytes())


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (403, CloudError, "roles/aiplatform.user, and roles/iam.serviceAccountUser on the job's"),
        (429, QuotaExceeded, "a quota of project my-project is used up"),
        (500, NoResponse, "whether the job was made is not known; submit again with --job-id mine"),
        (503, NoResponse, "whether the job was made is not known; submit again with --job-id mine"),
    ],
)
def test_a_lasting_error_comes_with_advice(google, vertex, job, code, error, advice):
    google.faults = [("create_pipeline_job", code, "before")] * 50
    with pytest.raises(error, match="cannot create job mine: ") as raised:
        vertex.create_job(job, "mine")
    assert advice in str(raised.value)
    assert not google.jobs


def test_a_lost_answer_is_no_second_job_and_no_conflict(google, vertex, job):
    google.faults = [("create_pipeline_job", 503, "after")]
    created = vertex.create_job(job, "mine")
    assert created["name"].endswith("/pipelineJobs/mine")
    assert google.calls == ["create_pipeline_job"] * 2 + ["get_pipeline_job"]
    with pytest.raises(AlreadyExists, match="choose another --job-id"):
        vertex.create_job(job, "mine")


def test_a_new_project_gets_the_time_to_create_its_service_agents(google, vertex, job, capsys):
    google.calls_without_agents = 3
    vertex.create_job(job, "mine")
    assert google.calls == ["create_pipeline_job"] * 4
    printed = capsys.readouterr().err
    assert printed.count("Google is creating the service agents of project my-project") == 1
    google.calls_without_agents = 1
    schedule = ScheduleRequest("toy", read_cron("0 3 * * 1"), job).as_schedule(vertex.cloud, None)
    vertex.create_schedule(schedule)
    assert len(google.schedules) == 1


def test_a_project_that_gets_no_service_agents_is_told_the_command(google, vertex, job):
    google.calls_without_agents = 1000
    with pytest.raises(CloudError, match="Service agents are being provisioned") as raised:
        vertex.create_job(job, "mine")
    command = (
        "gcloud beta services identity create --service=aiplatform.googleapis.com --project my"
    )
    assert command in str(raised.value)


def test_a_service_that_cannot_be_reached_is_a_sentence(job):
    vertex = Vertex(Cloud(**{**CLOUD, "api_endpoint": "http://127.0.0.1:9"}), patience_s=0.5)
    with pytest.raises(NoResponse, match="the service did not answer; try again"):
        vertex.create_job(job, "mine")


def test_another_project_s_job_is_absent(vertex):
    with pytest.raises(NotFound, match="is it in project my-project, location europe-west1"):
        vertex.get_job("theirs")


@pytest.fixture
def wide(spec, tmp_path, google):
    """The toy with 1 500 further columns, in the place of its spec."""
    columns = dict.fromkeys((f"column_{i}" for i in range(1_500)), "float")
    features = [{"name": f"f_{n}", "from": n, "transform": "standardize"} for n in columns]
    document = spec.as_document() | {"source": "gs://bucket/toy.csv", "features": features}
    document["columns"] |= columns
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    google.storage.put("gs://bucket/toy.csv", b"x,y\n1,true\n")


def file_of(google, job):
    """The content of the spec's file that a job names."""
    reference = json.loads(job["runtimeConfig"]["parameterValues"]["spec"])
    data = google.storage.get(reference["uri"])
    assert hashlib.sha256(data).hexdigest() == reference["sha256"]
    return json.loads(data)


def test_a_long_spec_is_put_below_the_root_before_its_job(google, quatrain, wide):
    code, _, err = quatrain("submit", "toy.yaml")
    assert code == 0, err
    assert len(file_of(google, posted(google))["columns"]) == 1_502


def test_a_schedule_of_a_long_spec_writes_it_again_where_it_is_gone(google, quatrain, wide):
    _, out, _ = quatrain("schedule", "apply", "toy.yaml", *CRON, "--plan")
    assert out.startswith("would create")
    assert not [name for name in google.storage.bucket("bucket").objects if "specs" in name]
    for _ in range(2):
        code, _, err = quatrain("schedule", "apply", "toy.yaml", *CRON)
        assert code == 0, err
        (schedule,) = google.schedules.values()
        request = json_format.MessageToDict(aiplatform_v1.Schedule.pb(schedule))
        job = request["createPipelineJobRequest"]["pipelineJob"]
        assert len(file_of(google, job)["columns"]) == 1_502
        for name in [n for n in google.storage.bucket("bucket").objects if "specs" in n]:
            google.storage.bucket("bucket").objects.pop(name)


def test_check_warns_of_inputs_on_this_machine(quatrain, tmp_path):
    rows = "".join(f"{i / 7},{'true' if i % 3 else 'false'}\n" for i in range(300))
    (tmp_path / "toy.csv").write_text(f"x,y\n{rows}")
    own = ["--set", "source.uri=toy.csv", "--set", "split.keys=[x]"]
    _, _, err = quatrain("check", "toy.yaml", *own, "--cloud", "cloud.yaml", file=None)
    assert "source.uri: " in err and "is on this machine, which Vertex cannot read; copy it" in err
