"""docs/first-run.md can be followed: its commands exist, in gcloud too, and lead to a green run."""

import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quatrain.components.tiers import regions, tiers
from quatrain.vertex.doctor.roles import ACCOUNT_ROLES, BUCKET_ROLES, PROJECT_ROLES, REPOSITORY_ROLE
from tests.emulators import execution, iam, storage, vertex
from tests.test_docs import PAGES, ROOT, blocks_of

PAGE = ROOT / "docs/first-run.md"
SECURITY = ROOT / "docs/security.md"
LOCATION, BUCKET = "us-central1", "my-project-quatrain-us-central1"
TRAINER = "quatrain-trainer@my-project.iam.gserviceaccount.com"
TEMPLATES = f"projects/my-project/locations/{LOCATION}/repositories/quatrain-templates"
DIGEST = "sha256:" + "0a" * 32


@functools.cache
def gcloud_commands():
    """The commands and options of the gcloud that is installed, from its file for completion."""
    program = shutil.which("gcloud")
    if program is None:
        pytest.skip("gcloud is not installed")
    path = Path(program).resolve().parents[1] / "data/cli/gcloud_completions.py"
    spec = importlib.util.spec_from_file_location("gcloud_completions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.STATIC_COMPLETION_CLI_TREE


def gcloud_calls(text):
    """The words of each call of gcloud, also within `$(...)` and behind `&&`."""
    words = r"gcloud (?:'[^']*'|\"[^\"]*\"|[^'\"\n)|>;])*"
    calls = re.findall(rf"(?:^ *|\$\(|&& |; )({words})", text, flags=re.M)
    return [shlex.split(call, comments=True)[1:] for call in calls]


def wrong_words(words):
    """The words of a call that gcloud has no command or option for."""
    node, known = gcloud_commands(), set(gcloud_commands()["flags"])
    words = list(words)
    while words and words[0] in node.get("commands", {}):
        node = node["commands"][words.pop(0)]
        known |= set(node.get("flags", {}))
    if node.get("commands"):
        return words[:1] or ["(no command)"]
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    return sorted(options - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_gcloud_has_the_commands_and_options_of_a_page(page):
    calls = gcloud_calls("\n".join(blocks_of(page)))
    assert not [(words, wrong) for words in calls if (wrong := wrong_words(words))]


def test_the_check_of_gcloud_finds_a_wrong_command_and_a_wrong_option():
    calls = gcloud_calls("export A=$(gcloud artifacts docker images copy a b)\ngcloud ai --x\n")
    calls += gcloud_calls("gcloud builds submit --tag=x --platform=y  # a comment\n")
    assert [wrong_words(words) for words in calls] == [["copy"], ["--x"], ["--platform"]]


def grants(page, member):
    """The commands of a page that give a member a role, in one form."""
    calls = gcloud_calls("\n".join(blocks_of(page)))
    return {
        tuple(sorted(words))
        for words in calls
        if any("add-iam-policy-binding" in w for w in words)
        and f"--member=serviceAccount:{member}" in words
    }


def services(page):
    enabled = [
        w for w in gcloud_calls("\n".join(blocks_of(page))) if w[:2] == ["services", "enable"]
    ]
    return {word for words in enabled for word in words if word.endswith(".googleapis.com")}


def test_the_page_grants_what_the_reference_grants():
    for member in ("$TRAINER", "$BUILDER"):
        assert grants(PAGE, member)
        assert grants(PAGE, member) <= grants(SECURITY, member)
    assert grants(PAGE, "$BUILDER") == grants(SECURITY, "$BUILDER")
    roles = {w for words in grants(PAGE, "$TRAINER") for w in words if w.startswith("--role=")}
    needed = (
        *PROJECT_ROLES,
        *ACCOUNT_ROLES,
        *BUCKET_ROLES,
        REPOSITORY_ROLE,
    )
    assert roles == {f"--role={role}" for role in needed}


def test_the_page_turns_on_the_services_of_the_module():
    module = (ROOT / "deploy/main.tf").read_text()
    # Of an engine, of alerts and releases, and of notices, which a first run does without.
    names = ("dataflow", "monitoring", "pubsub", "secretmanager")
    optional = {f"{name}.googleapis.com" for name in names}
    assert services(PAGE) == set(re.findall(r"\b[a-z]+\.googleapis\.com(?=\")", module)) - optional
    assert services(PAGE) == services(SECURITY) - optional


def test_the_region_of_the_examples_trains_every_tier_and_the_page_names_the_others():
    named = [tier for tier in tiers.names() if tier != "CUSTOM"]
    lacking = {
        place: {t for t in named if regions.untrained(tiers.describe(t), place)}
        for place in (LOCATION, "europe-west4")
    }
    tpus = {t for t in named if tiers.describe(t).accelerator == "tpu"}
    assert lacking == {LOCATION: set(), "europe-west4": tpus}
    text = " ".join(PAGE.read_text().split())
    places = re.search(r"L4 is not for training in ([\w, -]+?), although", text)[1]
    assert set(re.split(", | and ", places)) == set(regions.load()["not_trained"]["NVIDIA_L4"])
    pages = "\n".join(page.read_text() for page in PAGES if "docs" in page.parts)
    assert set(re.findall(r"location[:=] *([a-z]+-[a-z]+\d+)", pages)) == {LOCATION}


def test_cloud_build_builds_what_make_image_builds():
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    (step,) = build["steps"]
    made = re.search(r"docker (build .*) -t", (ROOT / "Makefile").read_text())[1]
    made = made.replace("--platform ", "--platform=").replace("--build-arg ", "--build-arg=")
    assert step["args"][:-2] == made.replace("$(EXTRA)", "${_EXTRA}").split()
    used = set(re.findall(r"\$\{(\w+)\}", str(build)))
    given = set(re.findall(r"(_[A-Z]+)=", PAGE.read_text()))
    assert used == given == {"_EXTRA", "_IMAGE"}
    assert (
        build["options"]["logging"] == "CLOUD_LOGGING_ONLY"
    )  # required with an account of one's own


def test_there_are_ten_questions_each_with_a_command():
    text = PAGE.read_text().split("## Ten questions")[1].split("\n## ")[0]
    questions = re.split(r"^\d+\. ", text, flags=re.M)[1:]
    assert len(questions) == 10
    assert all(re.search(r"^ {8}(gcloud|quatrain) ", q, flags=re.M) for q in questions)
    assert all(q.startswith("**") and "?**" in q for q in questions)


def policies():
    """Who may do what once the page's grants to the run's account are made."""
    names = {
        "$PROJECT": "projects/my-project",
        "$TRAINER": TRAINER,
        "gs://$BUCKET": f"gs://{BUCKET}",
        "quatrain-templates": TEMPLATES,
    }
    roles = {name: set() for name in names.values()}
    for words in grants(PAGE, "$TRAINER"):
        (resource,) = [word for word in words if word in names]
        (role,) = [word.partition("=")[2] for word in words if word.startswith("--role=")]
        roles[names[resource]].add(role)
    return roles


def script(url):
    """The page's blocks in order, and of the questions those that only plan."""
    lines = [
        line.removeprefix("    ")
        for block in blocks_of(PAGE)
        for line in block.splitlines()
        if not line.startswith(" " * 8) or "--plan" in line
    ]
    text = "\n".join(lines).replace("\nEND", f"\napi_endpoint: {url}\nEND")
    return f"""
set -euo pipefail
quatrain() {{ {shlex.quote(sys.executable)} -m quatrain "$@"; }}
terraform() {{ :; }}; docker() {{ :; }}; make() {{ :; }}
gcloud() {{
  echo "$*" >> calls
  case "$*" in *"images describe"*) echo {DIGEST};; esac
}}
{text}
"""


@pytest.mark.whole
def test_the_page_leads_from_an_empty_project_to_a_green_run(tmp_path, monkeypatch):
    flights = ROOT / "examples/flights"
    header, *rows = (flights / "data/flights.csv").read_text().splitlines()
    table = tmp_path / f"buckets/{BUCKET}/tables/flights.csv"
    table.parent.mkdir(parents=True)
    table.write_text("\n".join([header, *rows[::10]]) + "\n")
    (tmp_path / "examples/flights").mkdir(parents=True)
    shutil.copy(flights / "flights.yaml", tmp_path / "examples/flights")
    google = vertex.Vertex(
        location=LOCATION, execute=execution.LocalExecution(tmp_path / "buckets")
    )
    machines = iam.Iam(
        policies(), f"serviceAccount:{TRAINER}", {f"{LOCATION}-a": ["n1-standard-4"]}
    )
    machines.resources[f"/v1/{TEMPLATES}"] = {"format": "KFP"}
    with vertex.serving(google, machines.answer) as url, storage.serving() as served:
        served.add_bucket(BUCKET, LOCATION)
        served.put(f"gs://{BUCKET}/tables/flights.csv", table.read_bytes())
        key = storage.write_credentials(tmp_path / "key.json", served.url)
        environment = {
            **os.environ,
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "STORAGE_EMULATOR_HOST": served.url,
            "CLOUD_STORAGE_EMULATOR_ENDPOINT": served.url,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            ["/bin/bash", "-c", script(url)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    calls = (tmp_path / "calls").read_text()
    assert f"storage cp examples/flights/data/flights.csv gs://{BUCKET}/tables/flights.csv" in calls
    assert "0 errors" in done.stdout
    cost = re.search(r"about [\d.]+ to [\d.]+ USD a run by the list prices of [\d-]+", done.stdout)
    assert cost[0].replace(" a run", "") in " ".join(PAGE.read_text().split())
    (job,) = google.jobs.values()
    assert job.state.name == "PIPELINE_STATE_SUCCEEDED"
    assert google.fired == []
    assert google.schedules == {}
    assert "the schedule of flights is up to date" in done.stdout
