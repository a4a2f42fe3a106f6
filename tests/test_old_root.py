"""What 0.1.0 left behind still works: a root with two runs, its champion, and a schedule."""

import json
import shutil
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import yaml
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from quatrain.cli import main
from quatrain.vertex.client import Vertex
from quatrain.vertex.cloud_file import load_cloud
from quatrain.vertex.schedules.applier import ScheduleApplier, find
from quatrain.vertex.schedules.cron import read_cron
from quatrain.vertex.schedules.plan import ScheduleRequest
from quatrain.vertex.submission import JobRequest, prepare
from tests.emulators import storage, vertex
from tests.quatrain.vertex.schedules.test_applier import Clock
from tests.test_whole_chain import Outcome, quatrain

pytestmark = pytest.mark.whole

OLD = Path(__file__).parent / "fixtures/root-0.1.0"
MADE_IN = "/tmp/r/runs"  # noqa: S108 - the folder that the old files name
FIRST, CHAMPION = "20261201T143351-850951", "20261201T143511-251852"
CRON = "TZ=Europe/Berlin 0 3 * * 1"
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://bucket/quatrain",
    "image": "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32,
    "service_account": "trainer@my-project.iam.gserviceaccount.com",
}
SOURCE = "source.uri=gs://bucket/toys.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the old folder, whose files name the copy as the place where they are."""
    folder = tmp_path_factory.mktemp("old") / "copy"
    shutil.copytree(OLD, folder, symlinks=True)
    for path in folder.glob("root/toys/**/*.json"):
        path.write_text(path.read_text().replace(MADE_IN, str(folder / "root")))
    return folder


@pytest.fixture(scope="module")
def next_run(folder: Path) -> Outcome:
    completed = quatrain("run", "toys.yaml", "--root", "root", cwd=folder)
    return Outcome(completed, (folder / "root/toys/latest").resolve())


def test_report_prints_the_old_runs(folder: Path) -> None:
    for run, auc in ((FIRST, "0.7567"), (CHAMPION, "0.7585")):
        completed = quatrain("report", f"root/toys/{run}", cwd=folder)
        assert completed.returncode == 0, completed.stderr
        assert auc in completed.stdout
        assert "report.html" in completed.stdout


def test_the_old_champion_answers_as_it_did(folder: Path) -> None:
    pipeline = folder / "root/toys" / CHAMPION / "pipeline"
    (test,), (predictions,) = pipeline.rglob("test-*.parquet"), pipeline.rglob("predictions-*")
    raw = pq.read_table(test, columns=["raw_size", "raw_colour"])
    pacsv.write_csv(raw.rename_columns(["size", "colour"]), folder / "raw.csv")
    words = ("predict", "root/toys", "raw.csv", "-o", "answers.csv", "--root", "root")
    completed = quatrain(*words, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    now = pacsv.read_csv(folder / "answers.csv").column("probability_true").to_pylist()
    then = pq.read_table(predictions).column("probability_true").to_pylist()
    assert len(now) == 67
    assert now == pytest.approx(then, abs=1e-6)


def test_a_new_run_compares_its_rows_with_the_old_statistics(next_run: Outcome) -> None:
    assert next_run.completed.returncode == 0, next_run.completed.stderr
    (comparison,) = next_run.json("drift.json")["comparisons"]
    assert (comparison["run"], comparison["against"]) == (CHAMPION, ["previous", "champion"])
    checks = [check for column in comparison["columns"] for check in column["checks"]]
    assert {check["verdict"] for check in checks} == {"passed"}
    assert max(check["value"] for check in checks) == 0  # the same rows


def test_a_new_run_measures_the_old_champion_on_its_rows(next_run: Outcome, folder: Path) -> None:
    champion = next_run.json("metrics.json")["champion"]
    assert (champion["run"], champion["why"]) == (CHAMPION, "")
    then = json.loads((folder / "root/toys" / CHAMPION / "metrics.json").read_text())
    for metric in ("auc", "log_loss", "accuracy"):
        now, before = (m["metrics"][metric]["value"] for m in (champion, then))
        assert now == pytest.approx(before, abs=1e-6)
    # Its 67 test rows may be too few to promote the new model.
    is_promoted = next_run.json("metrics.json")["gate"]["decision"] == "promote"
    kept = next_run.run if is_promoted else folder / "root/toys" / CHAMPION
    assert (folder / "root/toys/champion").resolve() == kept.resolve()


@pytest.fixture
def google(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Vertex AI as 0.1.0 left it, the table in its bucket, and the folder with cloud.yaml."""
    google = vertex.Vertex()
    left = aiplatform_v1.Schedule()
    json_format.Parse((OLD / "schedule.json").read_text(), aiplatform_v1.Schedule.pb(left))
    google.restore(left)
    monkeypatch.chdir(folder)
    with vertex.serving(google) as url, storage.serving() as served:
        key = storage.write_credentials(folder / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        served.add_bucket("bucket")
        served.put("gs://bucket/toys.csv", (OLD / "toys.csv").read_bytes())
        settings = {**CLOUD, "api_endpoint": url}
        (folder / "cloud.yaml").write_text(yaml.safe_dump(settings))
        yield google


def verb(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Returns what a verb that succeeds prints."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    return printed.out


def test_an_old_schedule_is_listed_paused_resumed_and_deleted(google, capsys) -> None:
    listed = verb(capsys, "schedule", "list")
    assert "toys" in listed and CRON in listed
    (old,) = google.schedules.values()
    for word, state in (("pause", "PAUSED"), ("resume", "ACTIVE")):
        verb(capsys, "schedule", word, "toys")
        assert old.state.name == state
    verb(capsys, "schedule", "delete", "toys", "--yes")
    assert google.schedules == {}


def test_an_apply_puts_the_new_pipeline_in_the_place_of_an_old_schedule(google, folder) -> None:
    (old,) = google.schedules
    clock = Clock()
    google.now = clock.now
    request = JobRequest(spec=Path("toys.yaml"), cloud=Path("cloud.yaml"), overrides=(SOURCE,))
    checked = prepare(request, folder)
    schedule = ScheduleRequest("toys", read_cron(CRON), checked.job)
    client = Vertex(load_cloud(Path("cloud.yaml")))
    applier = ScheduleApplier(client, schedule, print, clock.now, clock.move)
    applier.apply()
    (new,) = find(client, "toys")
    assert new.name != old
    assert (new.state, new.value["cron"]) == ("ACTIVE", CRON)
    assert (
        new.job["runtimeConfig"]["parameterValues"]
        == checked.job["runtimeConfig"]["parameterValues"]
    )
    assert "quatrain.components.preprocess" in json.dumps(new.job["pipelineSpec"])
    assert applier.plan() == []
