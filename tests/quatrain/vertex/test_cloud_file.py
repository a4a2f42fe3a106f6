"""The settings of the cloud are checked all at once, each problem with its place."""

from pathlib import Path

import pytest
import yaml

from quatrain.components.tiers import tiers
from quatrain.vertex.cloud_file import CloudError, load_cloud

DIGEST = "sha256:" + "0a" * 32
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://bucket/quatrain",
    "image": f"europe-west1-docker.pkg.dev/my-project/r/quatrain@{DIGEST}",
    "service_account": "trainer@my-project.iam.gserviceaccount.com",
}


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        path = tmp_path / "cloud.yaml"
        path.write_text(yaml.safe_dump({**CLOUD, **changes}))
        return path

    return write


def problems(path, **options):
    with pytest.raises(CloudError) as raised:
        load_cloud(path, **options)
    return str(raised.value).splitlines()


def test_five_settings_are_enough(write):
    cloud = load_cloud(write())
    assert cloud.parent == "projects/my-project/locations/europe-west1"
    assert (cloud.failure_policy, cloud.retries, cloud.labels) == ("fast", 1, {})


def test_a_root_may_have_blanks_and_letters_of_any_language(write):
    root = "gs://my.rows_1/Läufe von 2026/a+b:c;d=(e)@f./"
    assert load_cloud(write(root=root)).root == root


def test_an_override_takes_the_place_of_a_setting(write):
    cloud = load_cloud(write(), ["labels.team=search", "retries=3"])
    assert (cloud.labels, cloud.retries) == ({"team": "search"}, 3)


@pytest.mark.parametrize(
    ("notify", "sentence"),
    [
        ({"webhook": "https://h.example/T0K3N\t"}, "the webhook 'https://h.example/...' cannot be"),
        ({"webhook": "https://h.example/T0K3N{{$"}, "notify.webhook: this str holds '{{$'"),
        ({"webhook": ["https://h.example/T0K3N"]}, "notify.webhook: must be text, not this list"),
        ({"https://h.example/T0K3N": None}, "notify: unknown key"),
        (
            {"webhok": "https://h.example/T0K3N"},
            "notify.webhok: unknown key; did you mean 'webhook'",
        ),
        ("https://h.example/T0K3N", "notify: write a mapping of webhook and pubsub"),
        ({"pubsub": "T0K3N", "predicted": "T0K3N"}, "notify.predicted: "),
    ],
)
def test_no_message_about_an_address_shows_more_than_its_host(write, notify, sentence):
    text = "\n".join(problems(write(notify=notify)))
    assert sentence in text
    assert "T0K3N" not in text


def test_every_problem_is_reported_at_once(write):
    sentences = problems(
        write(projekt="x", project=None, root="bucket", retries=11, failure_policy="quick")
    )
    assert [line.split(": ")[1] for line in sentences] == [
        "project",
        "failure_policy",
        "retries",
        "projekt",
        "root",
    ]
    assert sentences[3] == "cloud.yaml: projekt: unknown key; did you mean 'project'?"
    assert "gs://bucket/quatrain" in sentences[4]


@pytest.mark.parametrize("name", ["abc", "Flights", "1-weekly", "a_b_c", "x" * 64])
def test_an_experiment_s_name_must_be_an_id_of_vertex_ml_metadata(write, name):
    (problem,) = problems(write(experiment=name))
    assert problem.endswith("it has 4 to 63 lower-case letters, digits and hyphens")
    assert load_cloud(write(experiment="flights-2")).experiment == "flights-2"


def test_an_image_that_can_move_is_refused_unless_allowed(write):
    path = write(image="europe-west1-docker.pkg.dev/my-project/r/quatrain:latest")
    (problem,) = problems(path)
    assert "can move; name it by its digest" in problem
    assert load_cloud(path, allow_tag=True).image.steps.endswith(":latest")


def test_a_launcher_s_image_that_can_move_is_refused_unless_allowed(write):
    path = write(launcher_image="h/r/launcher:2.22.0")
    (problem,) = problems(path)
    assert "launcher_image: 'h/r/launcher:2.22.0' can move; name it by its digest" in problem
    assert load_cloud(path, allow_tag=True).launcher_image == "h/r/launcher:2.22.0"


def of(kind):
    return f"europe-west1-docker.pkg.dev/my-project/r/quatrain@{DIGEST[:-2]}{kind}"


ALL = {"cpu": of("c0"), "cuda": of("c1"), "tpu": of("c2")}


@pytest.mark.parametrize(
    ("image", "steps", "replicas"),
    [
        (ALL["cpu"], "cpu", ("cpu", "cpu", "cpu")),
        ({"cuda": ALL["cuda"]}, "cuda", ("cuda", "cuda", "cuda")),
        ({"cpu": ALL["cpu"], "tpu": ALL["tpu"]}, "cpu", ("cpu", None, "tpu")),
        (ALL, "cpu", ("cpu", "cuda", "tpu")),
    ],
)
def test_steps_run_the_cpu_image_and_a_training_that_of_its_tier(write, image, steps, replicas):
    cloud = load_cloud(write(image=image))
    assert cloud.image.steps == ALL[steps]
    for name, kind in zip(("BASIC", "BASIC_GPU", "BASIC_TPU"), replicas, strict=True):
        tier = tiers.resolve(name)
        if kind:
            assert cloud.train_image(tier) == ALL[kind]
        else:
            with pytest.raises(CloudError, match=f"image.cuda: missing .* tier {name} trains in"):
                cloud.train_image(tier)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ({}, "image: name the image of the steps as image.cpu, or one image for all"),
        ({"cuda": ALL["cuda"], "tpu": ALL["tpu"]}, "image: name the image of the steps as"),
        (
            {**ALL, "gpu": ALL["cuda"]},
            "image.gpu: unknown key; an image is for cpu, cuda (GPUs) or tpu",
        ),
        ({"cpu": 5}, "image.cpu: must be text, not 5"),
        (5, "image: write one image, or a mapping of cpu, cuda and tpu, not 5"),
        ({"cpu": ALL["cpu"], "cuda": "h/quatrain:1"}, "image.cuda: 'h/quatrain:1' can move; name"),
        ({"cpu": "quatrain"}, "image.cpu: 'quatrain' has another form than REGION-docker.pkg.dev"),
    ],
)
def test_a_wrong_mapping_of_images_is_refused_with_its_place(write, image, sentence):
    problem, *_ = problems(write(image=image))
    assert problem.removeprefix("cloud.yaml: ").startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": {"Team": "a"}}, "labels.Team: a key is a lower-case letter"),
        ({"labels": {"team": "A b"}}, "labels.team: 'A b' may hold lower-case"),
        ({"labels": {"spec": "a"}}, "labels.spec: Quatrain writes this label"),
        ({"network": "projects/p/global/networks/n"}, "network: 'projects/p/global/networks/n'"),
        (
            {
                "network": "projects/1/global/networks/n",
                "psc_interface": "projects/p/regions/europe-west1/networkAttachments/a",
            },
            "a network or a PSC interface, not both",
        ),
        (
            {"encryption_key": "projects/p/locations/us-east1/keyRings/r/cryptoKeys/k"},
            "it is in us-east1; it must be in the job's region, europe-west1",
        ),
        ({"root": "gs://bucket/runs/../x"}, "root: "),
        ({"root": "gs://bucket//x"}, "root: "),
        *(
            ({"root": f"gs://bucket/a{sign}b"}, "or holds one of ? # % * [ ]")
            for sign in '?#%*[]"\\\n'
        ),
    ],
)
def test_a_setting_that_google_would_refuse_is_refused_here(write, changes, sentence):
    (problem,) = problems(write(**changes))
    assert sentence in problem


def test_a_missing_file_says_what_to_write(tmp_path):
    (problem,) = problems(tmp_path / "cloud.yaml")
    assert "write project, location, root, image and service_account into it" in problem


def test_one_module_alone_imports_the_library_of_vertex():
    root = Path(__file__).parents[3]
    files = [
        p
        for folder in ("quatrain", "pipelines", "components", "trainer")
        for p in root.glob(f"{folder}/**/*.py")
    ]
    words = ("from google.cloud import aiplatform", "google.cloud.aiplatform", "import aiplatform")
    importers = {
        path.name
        for path in files
        for line in path.read_text().splitlines()
        if line.lstrip().startswith(("import ", "from ")) and any(word in line for word in words)
    }
    assert importers == {"client.py"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("registry", "http://127.0.0.1:8080/x"),
        ("registry", "https://evil.example/my-project/templates"),
        ("registry", "https://europe-west1-kfp.pkg.dev.evil.example/my-project/templates"),
        ("registry", "https://evil.example#europe-west1-kfp.pkg.dev/my-project/templates"),
        ("registry", "https://x@europe-west1-kfp.pkg.dev/my-project/templates"),
        ("registry", "http://europe-west1-kfp.pkg.dev/my-project/templates"),
        ("registry", "https://europe-west1-kfp.pkg.dev/my-project/../templates"),
        ("root", "gs://my-bucket/../x"),
        ("root", "gs://my-bucket/a/./x"),
        ("root", "gs://my-bucket/.."),
        ("root", "gs://my-bucket/{{$.pipeline_job_name}}"),
        ("root", "gs://my-bucket?endpoint_override=evil.example/x"),
        ("image", f"evil.example#.pkg.dev/p/r/quatrain@{DIGEST}"),
        ("image", f"evil.example?.pkg.dev/p/r/quatrain@{DIGEST}"),
        ("image", f"a-docker.pkg.dev/p/../quatrain@{DIGEST}"),
        ("image", f"a-docker.pkg.dev/p/{{{{$.x}}}}@{DIGEST}"),
        ("launcher_image", f"evil.example#.pkg.dev/p/r/launcher@{DIGEST}"),
        ("launcher_image", f"a-docker.pkg.dev/p/{{{{$.x}}}}@{DIGEST}"),
        ("service_account", "a/b?c@my-project.iam.gserviceaccount.com"),
        ("service_account", "t@evil.example/x.gserviceaccount.com"),
        ("api_endpoint", "http://user:pw@host"),
        ("api_endpoint", "http://host?x"),
        ("psc_interface", "projects/a?b/regions/europe-west1/networkAttachments/n"),
        ("network", "projects/1/global/networks/a#b"),
        ("encryption_key", "projects/p/locations/europe-west1/keyRings/../cryptoKeys/k"),
    ],
)
def test_no_setting_names_another_host_or_another_path(write, name, text):
    *_, problem = problems(write(**{name: text}))
    assert problem.startswith(f"cloud.yaml: {name}: ")
    assert ("has another form than" in problem) or ("which a pipeline replaces" in problem)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"runner_options": {"subnetwork": "{{$.inputs}}"}},
            "runner_options.subnetwork: '{{$.inputs}}' holds '{{$', which a pipeline replaces",
        ),
        (
            {"runner_options": {"experiments": ["a", "b\x1b[2J"]}},
            r"runner_options.experiments: 'b\x1b[2J' holds a control character; remove it",
        ),
    ],
)
def test_a_text_without_a_form_holds_no_placeholder_and_no_control_character(
    write, changes, sentence
):
    assert problems(write(**changes)) == [f"cloud.yaml: {sentence}"]


@pytest.mark.parametrize(
    "changes",
    [
        {"registry": "https://europe-west1-kfp.pkg.dev/my-project/templates"},
        {"registry": "https://us-kfp.pkg.dev/example.com:my-project/t"},
        {"registry": "http://127.0.0.1:8080/p/t", "api_endpoint": "http://127.0.0.1:8080"},
        {"image": f"localhost:5000/quatrain@{DIGEST}"},
        {"image": f"eu-docker.pkg.dev/my-project/a_b/quatrain.x:v1@{DIGEST}"},
        {"service_account": "123-compute@developer.gserviceaccount.com"},
        {"service_account": "t@my-project.example.com.iam.gserviceaccount.com"},
        {"root": "gs://my.bucket_1/a-b/..c/"},
    ],
)
def test_the_forms_take_what_google_takes(write, changes):
    load_cloud(write(**changes))
