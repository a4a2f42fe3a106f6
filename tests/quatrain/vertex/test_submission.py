"""A submitted job is the compiled file, unchanged; what goes wrong ends in a sentence."""

import datetime
import hashlib
import io
import json
import os
import re
import signal
import time

import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.cli import main
from quatrain.components.tiers import tiers
from quatrain.pipelines.compiled import compile_pipeline, read_compiled
from quatrain.vertex import submission
from quatrain.vertex.capacity import other_tiers
from quatrain.vertex.client import AlreadyExists, NoResponse, NotFound, QuotaExceeded, Vertex
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.cron import read_cron
from quatrain.vertex.job_watch import JobWatch
from quatrain.vertex.schedule_plan import ScheduleRequest
from tests.emulators import registry as registry_emulator
from tests.emulators import storage as storage_emulator
from tests.emulators import vertex as emulator

IMAGE = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://bucket/quatrain",
    "image": IMAGE,
    "service_account": "trainer@my-project.iam.gserviceaccount.com",
    "labels": {"team": "search"},
}
FULL = {
    "psc_interface": "projects/my-project/regions/europe-west1/networkAttachments/a",
    "encryption_key": "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k",
    "failure_policy": "slow",
}
State = aiplatform_v1.PipelineState
Task = aiplatform_v1.PipelineTaskDetail


@pytest.fixture(scope="module")
def training_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "training.yaml"
    return compile_pipeline(path, IMAGE)


@pytest.fixture
def google(monkeypatch, tmp_path, spec):
    """An emulated Vertex AI and storage, with the settings and a spec in the working folder."""
    google = emulator.Vertex()
    google.other = {}
    monkeypatch.chdir(tmp_path)

    def other(_, target):
        """Answers for other services, by the whole path."""
        return (200, google.other[target]) if target in google.other else None

    with emulator.serving(google, other) as url, storage_emulator.serving() as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        key = storage_emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        storage.add_bucket("bucket")
        storage.put("gs://bucket/toy.csv", b"x,y\n1,true\n")
        google.storage = storage
        storage.add_bucket("wide", "eu", "multi-region")
        google.url = url
        (tmp_path / "cloud.yaml").write_text(yaml.safe_dump({**CLOUD, "api_endpoint": url}))
        document = {**spec.as_document(), "source": "gs://bucket/toy.csv"}
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document))
        yield google


@pytest.fixture
def quatrain(google, capsys, training_path):
    def call(*arguments, file=training_path):
        pipeline = ["--pipeline", str(file)] if file else []
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), *pipeline])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def posted(google):
    (job,) = google.jobs.values()
    return json_format.MessageToDict(aiplatform_v1.PipelineJob.pb(job))


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
    code, _, err = quatrain("submit", "toy.yaml", file=tmp_path / "other.yaml")
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


def script(*frames, state="PIPELINE_STATE_SUCCEEDED", error=""):
    """Makes a job go through frames, each the states of its steps."""

    def execute(job, _):
        for frame in frames:
            time.sleep(0.1)
            tasks = [
                Task(task_id=n, task_name=name, state=Task.State[s], parent_task_id=0)
                for n, (name, s) in enumerate(frame.items(), 1)
            ]
            if error:
                tasks[-1].error = {"code": 9, "message": error}
            if frame.get("evaluate") == "SUCCEEDED":
                artifact = aiplatform_v1.Artifact(uri="gs://bucket/quatrain/1/evaluation")
                tasks.append(
                    Task(
                        task_id=99,
                        task_name="measure",
                        state=Task.State.SUCCEEDED,
                        outputs={"evaluation": Task.ArtifactList(artifacts=[artifact])},
                    )
                )
            if "train" in frame:
                artifact = aiplatform_v1.Artifact(uri="gs://bucket/quatrain/1/model")
                outputs = {"model": Task.ArtifactList(artifacts=[artifact])}
                completed = Task.State.SUCCEEDED
                tasks.append(Task(task_id=98, task_name="plan", state=completed, outputs=outputs))
            job.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks)
        job.state = State[state]

    return execute


def test_waiting_shows_the_steps_and_ends_with_the_report_s_link(google, quatrain):
    completed = {"preprocess": "SUCCEEDED", "package": "SKIPPED"}
    google.execute = script(
        {"preprocess": "RUNNING"},
        {**completed, "train": "RUNNING"},
        {**completed, "train": "SUCCEEDED", "evaluate": "SUCCEEDED"},
    )
    google.faults = [("get_pipeline_job", 503, "before"), ("get_pipeline_job", 429, "before")]
    code, out, err = quatrain("submit", "toy.yaml", "--wait")
    assert code == 0, err
    ended = [line.split() for line in err.splitlines() if "succeeded" in line or "cache" in line]
    assert [words[:2] for words in ended] == [
        ["[1/4]", "preprocess"],
        ["[2/4]", "package"],
        ["[3/4]", "train"],
        ["[4/4]", "evaluate"],
    ]
    link = "https://storage.cloud.google.com/bucket/quatrain/1/evaluation/report.html"
    assert out.endswith(f"report {link}\n")


@pytest.mark.parametrize("step", ["preprocess", "package", "train", "evaluate"])
def test_a_failed_job_names_its_step_and_reason(google, quatrain, step):
    google.execute = script({step: "FAILED"}, state="PIPELINE_STATE_FAILED", error="no rows")
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert f"error: job mine failed: task {step}: no rows\nlook: https://console." in err


def test_a_failed_training_repeats_the_failure_of_its_trainer(google, quatrain):
    left = {"phase": "train", "reason": "no rows", "hint": "add some", "exit_code": 3}
    google.storage.put("gs://bucket/quatrain/1/model/failure.json", json.dumps(left).encode())
    google.execute = script({"train": "FAILED"}, state="PIPELINE_STATE_FAILED", error="exit 3")
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "failed: task train: exit 3\ntraining: no rows; add some\nlook: https://console." in err


STOCKOUT = (
    "Resources are insufficient in region: europe-west1. Please try a different region or use a "
    "different accelerator."
)
JOBS = "https://europe-west1-aiplatform.googleapis.com/v1/projects/12345/locations/europe-west1"
DATAFLOW = "https://dataflow.googleapis.com/v1b3/projects/my-project/locations/europe-west1/jobs/1"


def nested(*rows):
    """Makes tasks of (id, parent, name, state, message, uri of the job that it launched)."""
    tasks = []
    for number, parent, name, state, message, uri in rows:
        task = Task(task_id=number, task_name=name, state=Task.State[state], parent_task_id=parent)
        if message:
            task.error = {"code": 9, "message": message}
        if uri:
            kind = "DataflowJob" if "dataflow" in uri else uri.split("/")[-2]
            kind = {"customJobs": "CustomJob"}.get(kind, kind)
            kind = {"hyperparameterTuningJobs": "HyperparameterTuningJob"}.get(kind, kind)
            resources = {"resources": [{"resourceType": kind, "resourceUri": uri}]}
            task.execution = {"metadata": {"output:gcp_resources": json.dumps(resources)}}
        tasks.append(task)
    return tasks


def ending(tasks, state="PIPELINE_STATE_FAILED"):
    """Makes a job end with tasks."""

    def execute(job, _):
        job.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks)
        job.state = State[state]

    return execute


def add_job(google, number, message, collection="customJobs", display_name="mine"):
    """Puts a failed training or tuning job into the service, and returns its uri."""
    tuning = collection != "customJobs"
    kind = aiplatform_v1.HyperparameterTuningJob if tuning else aiplatform_v1.CustomJob
    name = f"projects/12345/locations/europe-west1/{collection}/{number}"
    job = kind(name=name, display_name=display_name, state=aiplatform_v1.JobState.JOB_STATE_FAILED)
    job.error = {"code": 8, "message": message}
    (google.tuning_jobs if tuning else google.custom_jobs)[name] = job
    return f"{JOBS}/{collection}/{number}"


def failed_training(uri=""):
    launcher = "Job failed with error state: 5."
    return nested(
        (1, 0, "mine", "FAILED", "The DAG failed", ""),
        (2, 1, "preprocess", "SUCCEEDED", "", ""),
        (3, 2, "preprocess", "SUCCEEDED", "", ""),
        (4, 1, "train", "FAILED", "The DAG failed", ""),
        (5, 4, "condition-2", "FAILED", "The DAG failed", ""),
        (6, 5, "custom-training-job", "FAILED", launcher, uri),
    )


@pytest.mark.parametrize("collection", ["customJobs", "hyperparameterTuningJobs"])
@pytest.mark.parametrize("named", [True, False])
def test_a_failed_training_job_is_reported_in_its_own_words(google, quatrain, collection, named):
    uri = add_job(google, 77, "The replica workerpool0-0 ran out of disk", collection)
    add_job(google, 78, "another run's", collection, "other")
    google.execute = ending(failed_training(uri if named else ""))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    kind = {"customJobs": "custom job"}.get(collection, "tuning job")
    path = "train/condition-2/custom-training-job"
    assert f"error: job mine failed: task {path}: Job failed with error state: 5.\n" in err
    assert f"\n{kind} 77: The replica workerpool0-0 ran out of disk\nlook: https://" in err
    assert "another run's" not in err
    assert "--tier" not in err


def test_a_failed_dataflow_job_is_reported_by_its_last_error(google, quatrain, monkeypatch):
    google.execute = ending(
        nested(
            (2, 0, "preprocess", "FAILED", "The DAG failed", ""),
            (3, 2, "preprocess", "FAILED", "exit status 1", DATAFLOW),
        )
    )
    path, importance = DATAFLOW.split("/", 3)[3], "minimumImportance=JOB_MESSAGE_ERROR"
    errors = [{"messageText": "first"}, {"messageText": "Workflow failed:\n no quota"}]
    google.other = {f"/{path}/messages?{importance}": {"jobMessages": errors}}
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "mine failed: task preprocess/preprocess: exit status 1\nDataflow job 1: Wor" in err
    assert "Dataflow job 1: Workflow failed: no quota\n" in err


def test_a_launched_job_that_may_not_be_read_leaves_the_failure_as_it_is(google, quatrain):
    google.execute = ending(failed_training(f"{JOBS}/customJobs/99"))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "error: job mine failed: task train/condition-2/custom-training-job: Job failed" in err
    assert "\ncustom job 99: cannot read https://" in err
    assert "The CustomJob 99 does not exist" in err


@pytest.mark.parametrize(
    ("collection", "group"),
    [("customJobs", "custom-jobs"), ("hyperparameterTuningJobs", "hp-tuni")],
)
def test_a_job_that_its_launcher_left_running_is_named_with_the_command_that_ends_it(
    google, quatrain, collection, group
):
    uri = add_job(google, 77, "", collection)
    for table in (google.custom_jobs, google.tuning_jobs):
        for job in table.values():
            job.state, job.error = aiplatform_v1.JobState.JOB_STATE_PENDING, None
    google.execute = ending(failed_training(uri))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert " 77: goes on and is billed, though nothing waits for it; end it with `gcloud ai" in err
    assert f"gcloud ai {group}" in err
    assert " cancel 77 --region europe-west1 --project my-project`" in err


def test_credentials_are_sent_to_google_alone(google, quatrain):
    path = add_job(google, 77, "not for you", display_name="other").split("/", 3)[3]
    google.execute = ending(failed_training(f"https://example.com/{path}"))
    _, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert "not for you" not in err
    assert "get_custom_job" not in google.calls


def test_each_step_is_shown_once_though_an_inner_task_has_its_name(google, quatrain):
    google.execute = ending(
        nested(
            (1, 0, "mine", "SUCCEEDED", "", ""),
            (2, 1, "preprocess", "SUCCEEDED", "", ""),
            (3, 2, "preprocess", "SKIPPED", "", ""),  # read last, and it is not the step
            (4, 1, "package", "SUCCEEDED", "", ""),
        ),
        "PIPELINE_STATE_SUCCEEDED",
    )
    code, _, err = quatrain("submit", "toy.yaml", "--wait")
    assert code == 0, err
    shown = [line.split() for line in err.splitlines() if "preprocess" in line and " s " in line]
    assert [words[-1] for words in shown] == ["succeeded"]


def test_a_lack_of_machines_names_the_tiers_that_may_have_some(google, quatrain):
    google.images.build(IMAGE.partition("@")[2], "cuda")
    google.execute = ending(failed_training(add_job(google, 77, STOCKOUT)))
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine", "--tier", "L4")
    assert code == 1
    assert f"\ncustom job 77: {STOCKOUT}\n" in err
    assert "the machines of tier L4 are lacking: submit again later, in another region, or" in err
    assert "such as --tier BASIC_GPU or --tier A100 or --tier A100_FLEX; preprocess then" in err


def test_a_fallback_is_submitted_when_machines_are_lacking(google, quatrain):
    google.images.build(IMAGE.partition("@")[2], "cuda")
    outcomes = iter([failed_training(add_job(google, 77, STOCKOUT)), []])

    def execute(job, update):
        tasks = next(outcomes)
        state = "PIPELINE_STATE_FAILED" if tasks else "PIPELINE_STATE_SUCCEEDED"
        ending(tasks, state)(job, update)

    google.execute = execute
    arguments = ["--wait", "--no-cache", "--job-id", "mine", "--tier", "L4", "--fallback", "A100"]
    code, _, err = quatrain("submit", "toy.yaml", *arguments)
    assert code == 0, err
    assert "now with tier A100 instead of L4\n" in err
    assert [name.rsplit("/", 1)[1] for name in google.jobs] == ["mine", "mine-2"]
    parameters = [
        aiplatform_v1.PipelineJob.pb(job).runtime_config.parameter_values
        for job in google.jobs.values()
    ]
    assert [values["tier"].string_value for values in parameters] == ["L4", "A100"]
    # The second one finds the rows of the first in the cache.
    assert {values["cache_key"].string_value for values in parameters} == {"mine"}
    assert parameters[0]["spec"] == parameters[1]["spec"]


def test_another_failure_is_not_tried_again_with_the_fallback(google, quatrain):
    google.images.build(IMAGE.partition("@")[2], "cuda")
    google.execute = ending(failed_training(add_job(google, 77, "The replica exited with 3")))
    arguments = ["--wait", "--tier", "L4", "--fallback", "A100"]
    assert quatrain("submit", "toy.yaml", *arguments)[0] == 1
    assert len(google.jobs) == 1


def test_every_fallback_is_checked_before_the_first_job_is_sent(google, quatrain):
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--fallback", "L5")
    assert (code, google.calls) == (1, [])
    assert "unknown tier 'L5'" in err
    code, _, err = quatrain("submit", "toy.yaml", "--fallback", "L4")
    assert (code, google.calls) == (2, [])
    assert "--fallback needs --wait" in err


@pytest.mark.parametrize("name", [n for n in tiers.names() if n != "CUSTOM"])
def test_another_tier_has_other_machines_of_the_same_kind_or_waits(name):
    tier = tiers.describe(name)
    for other in map(tiers.describe, other_tiers(tier)):
        assert other.name != name
        kinds = {bool(t.pools[0].accelerator_type) for t in (tier, other)}
        assert len(kinds) == 1
        assert (other.scheduling == "SPOT") is (tier.scheduling == "SPOT")
        assert other.scheduling == "FLEX_START" or other.pools != tier.pools


def test_a_job_cancelled_in_the_console_is_reported_as_such(google, quatrain):
    google.execute = script({"train": "CANCELLED"}, state="PIPELINE_STATE_CANCELLED")
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "[3/4] train         0.0 s  cancelled" in err
    assert "error: job mine was cancelled\nlook: https://console." in err


def test_a_job_that_cannot_be_read_any_more_goes_on(google, vertex, job, training_path):
    vertex.create_job(job, "mine")
    google.faults = [("get_pipeline_job", 503, "before")] * 50
    sent = submission.Submission("mine", job, read_compiled(training_path))
    with pytest.raises(CloudError) as raised:
        JobWatch(vertex, sent, io.StringIO()).run()
    message = str(raised.value)
    assert "the service did not answer; try again in a while\nthe job goes on: https://" in message


def test_a_job_deleted_while_waiting_is_reported_as_such(google, quatrain):
    google.after_call = lambda method: method == "create_pipeline_job" and google.jobs.clear()
    code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    assert code == 1
    assert "cannot read job mine: The PipelineJob mine does not exist; is it in project" in err


@pytest.mark.parametrize(("answer", "cancelled"), [("y\n", True), ("n\n", False), (None, False)])
def test_ctrl_c_while_waiting_offers_to_cancel(google, quatrain, monkeypatch, answer, cancelled):
    class Terminal(io.StringIO):
        def isatty(self):
            return answer is not None

    def interrupt(method):
        if method == "get_pipeline_job":
            os.kill(os.getpid(), signal.SIGINT)

    google.after_call = interrupt
    monkeypatch.setattr("sys.stdin", Terminal(answer or ""))
    # A background process of a script ignores Ctrl-C from its start, and so do its tests.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, _, err = quatrain("submit", "toy.yaml", "--wait", "--job-id", "mine")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert code == 130
    assert ("cancel_pipeline_job" in google.calls) is cancelled
    assert ("mine goes on; cancel it on its page" in err) is not cancelled


@pytest.fixture
def vertex(google):
    return Vertex(Cloud(**{**CLOUD, "api_endpoint": google.url}), patience_s=1.0)


@pytest.fixture
def job(training_path, google):
    return submission.prepare(
        submission.JobRequest("toy.yaml", "cloud.yaml", pipeline=training_path), None
    ).job


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (403, CloudError, "roles/aiplatform.user, and roles/iam.serviceAccountUser on the job's"),
        (429, QuotaExceeded, "a quota of project my-project is used up"),
        (500, NoResponse, "whether the job was made is not known; --job-id mine makes no second"),
        (503, NoResponse, "whether the job was made is not known; --job-id mine makes no second"),
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


@pytest.mark.parametrize("verb", ["apply", "list", "pause", "resume", "delete", "run"])
def test_the_help_of_every_verb_of_a_schedule_fits_a_screen_and_has_an_example(quatrain, verb):
    code, out, _ = quatrain("schedule", verb, "--help", file=None)
    assert code == 0
    assert len(out.splitlines()) <= 24
    assert f"Example:\n    quatrain schedule {verb}" in out


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


CRON = ["--cron", "TZ=America/Sao_Paulo 0 3 * * 1"]


def test_a_schedule_is_applied_listed_paused_resumed_run_and_deleted(google, quatrain):
    code, out, err = quatrain("schedule", "apply", "toy.yaml", *CRON)
    assert code == 0, err
    times = [line for line in out.splitlines() if line.startswith("  Mon ")]
    assert len(times) == 5
    assert all(line.endswith("T03:00:00-03:00)") for line in times)
    _, out, _ = quatrain("schedule", "apply", "toy.yaml", *CRON)
    assert "the schedule of toy is up to date" in out
    changed = ["--set", "train.epochs=9", "--plan"]
    _, out, _ = quatrain("schedule", "apply", "toy.yaml", *CRON, *changed)
    assert out.startswith("would create a new schedule, parked")
    assert len(google.schedules) == 1
    (schedule,) = google.schedules.values()
    assert quatrain("schedule", "list", file=None)[1].startswith("toy                   active")
    assert quatrain("schedule", "pause", "toy", file=None)[0] == 0
    assert schedule.state.name == "PAUSED"
    assert quatrain("schedule", "resume", "toy", "--catch-up", file=None)[0] == 0
    assert (schedule.state.name, schedule.catch_up) == ("ACTIVE", True)
    code, out, err = quatrain("schedule", "run", "toy", file=None)
    assert code == 0, err
    assert posted(google)["labels"]["quatrain"] == "toy"
    assert quatrain("schedule", "delete", "toy", "--yes", file=None)[0] == 0
    assert not google.schedules
    code, _, err = quatrain("schedule", "pause", "toy", file=None)
    assert (code, err) == (1, "error: no schedule of 'toy' in europe-west1; there is none at all\n")


def test_the_list_of_schedules_shows_their_last_runs_and_refused_starts(google, quatrain):
    clock = datetime.datetime.now(datetime.UTC)
    google.now = lambda: clock
    assert quatrain("schedule", "apply", "toy.yaml", "--cron", "0 * * * *")[0] == 0
    code, out, _ = quatrain("schedule", "list", file=None)
    assert (code, out.count("\n")) == (0, 1)

    clock += datetime.timedelta(hours=1)
    code, out, err = quatrain("schedule", "list", file=None)
    assert code == 0, err
    job_id = "scheduled-2"
    assert "1 run  spec" in out
    assert f"\n  last run: {job_id} pending since {clock:%Y-%m-%d %H:%M:%S} UTC\n" in out

    (run,) = google.jobs.values()
    run.state = State.PIPELINE_STATE_FAILED
    run.error = {"code": 9, "message": "task gate: auc=0.5 is below the gate"}
    run.end_time = clock
    code, out, _ = quatrain("schedule", "list", file=None)
    assert code == 1
    assert f"  last run: {job_id} failed at {clock:%Y-%m-%d %H:%M:%S} UTC: task gate: auc" in out
    assert "last start" not in out

    run.state, run.error = State.PIPELINE_STATE_SUCCEEDED, None
    assert quatrain("schedule", "list", file=None)[0] == 0
    google.refusal = "PERMISSION_DENIED: Permission 'iam.serviceAccounts.actAs' denied"
    clock += datetime.timedelta(hours=1)
    code, out, _ = quatrain("schedule", "list", file=None)
    assert code == 1
    due = f"{clock:%Y-%m-%d %H}:00:00 UTC"
    assert f"  last start: the run due at {due} was not started: {google.refusal}\n" in out
    assert f"  last run: {job_id} succeeded at" in out

    google.refusal = "the service's own words"  # whatever they are: there is no run since
    clock += datetime.timedelta(hours=1)
    assert (
        "was not started: the service's own words\n" in quatrain("schedule", "list", file=None)[1]
    )


@pytest.mark.parametrize(("queue", "code"), [([], 1), (["--queue"], 0)])
def test_a_catch_up_of_more_runs_than_may_be_active_needs_a_queue(google, quatrain, queue, code):
    assert quatrain("schedule", "apply", "toy.yaml", "--cron", "0 3 * * *", *queue)[0] == 0
    assert quatrain("schedule", "pause", "toy", file=None)[0] == 0
    (schedule,) = google.schedules.values()
    schedule.last_pause_time -= datetime.timedelta(days=10)
    ended, _, err = quatrain("schedule", "resume", "toy", "--catch-up", file=None)
    assert ended == code, err
    assert schedule.state.name == ("PAUSED" if code else "ACTIVE")
    assert ("toy missed 10 runs; it starts 1 and skips the others" in err) is bool(code)
    assert quatrain("schedule", "resume", "toy", file=None)[0] == 0


@pytest.mark.parametrize(
    ("zone", "hour", "shift"),
    [("Asia/Tokyo", 3, -1), ("America/Sao_Paulo", 22, 1), ("Asia/Tokyo", 10, 0)],
)
def test_an_applied_schedule_says_which_days_its_next_run_reads(
    google, quatrain, zone, hour, shift
):
    window = ["--set=source.uri=gs://bucket/{date}.csv", "--set=source.window=9d"]
    cron = ["--cron", f"TZ={zone} 0 {hour} * * 1"]
    code, out, err = quatrain("schedule", "apply", "toy.yaml", *window, *cron, "--plan")
    assert code == 0, err
    monday = datetime.date.fromisoformat(re.search(r"Mon (\d{4}-\d\d-\d\d)", out)[1])
    first, last = (
        f"{monday + datetime.timedelta(days=shift + before):%a %Y-%m-%d}" for before in (-9, -1)
    )
    assert f"the next one reads {first} to {last}, in UTC\n" in out
    warned = f"it reads to {last}, a day {'earlier' if shift < 0 else 'later'} than in its zone"
    assert (warned in err) is bool(shift)
    assert ("warning" in err) is bool(shift)
