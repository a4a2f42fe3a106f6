"""The best trial of a finished tuning job gives its settings to the final training."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from google.cloud import aiplatform_v1

from quatrain.components.errors import TrainingFailed
from quatrain.components.train import best_trial
from tests.emulators import storage, tls

POOL = {
    "machine_spec": {"machine_type": "n1-standard-8", "accelerator_count": 1},
    "replica_count": 1,
    "container_spec": {"image_uri": "i", "args": ["--", "--learning-rate", "0.001"]},
}
URI = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/l/x/1"


def job(*values, goal="MINIMIZE"):
    """As Vertex answers; a value of None is a trial that reported nothing."""
    trials = [
        aiplatform_v1.Trial(
            id=str(number),
            state="INFEASIBLE" if value is None else "SUCCEEDED",
            parameters=[
                {"parameter_id": "learning_rate", "value": number / 1000},
                {"parameter_id": "batch_size", "value": 256.0},
                {"parameter_id": "hidden_units", "value": "64,32"},
            ],
            final_measurement=None
            if value is None
            else {"metrics": [{"metric_id": "validation_loss", "value": value}]},
        )
        for number, value in enumerate(values, 1)
    ]
    metric = {"metric_id": "validation_loss", "goal": goal}
    study = aiplatform_v1.HyperparameterTuningJob(
        display_name="toy", study_spec={"metrics": [metric]}, trials=trials
    )
    return json.loads(
        aiplatform_v1.HyperparameterTuningJob.to_json(
            study, use_integers_for_enums=False, including_default_value_fields=False
        )
    )


@pytest.mark.parametrize(
    ("values", "goal", "winner"),
    [
        ((0.3, 0.2, 0.25), "MINIMIZE", "2"),
        ((0.3, 0.2, 0.25), "MAXIMIZE", "1"),
        ((None, 0.2, 0.2), "MINIMIZE", "2"),  # the first of equal ones
        ((0.5, 0.0, -1.0), "MINIMIZE", "3"),
        ((0.5, 0.0, None), "MINIMIZE", "2"),  # REST leaves a 0 out
    ],
)
def test_the_best_trial_follows_the_goal(values, goal, winner):
    assert best_trial.best_trial(job(*values, goal=goal))["id"] == winner


def test_without_a_reported_metric_there_is_no_best_trial():
    with pytest.raises(TrainingFailed) as raised:
        best_trial.best_trial(job(None, None))
    assert str(raised.value) == (
        "none of 2 trials reported the metric 'validation_loss', so none is the best (trial 1: it "
        "reported no metric 'validation_loss'; trial 2: it reported no metric 'validation_loss'); "
        "correct what they failed of, or their search space"
    )


def test_the_best_settings_follow_the_command_s_own_and_all_trials_are_recorded(tmp_path):
    study = tmp_path / "a study.json"
    study.write_text(json.dumps(job(0.3, 0.2)))
    resources = {"resources": [{"resourceType": "Local", "resourceUri": study.as_uri()}]}
    (pool,) = best_trial.choose(json.dumps(resources), json.dumps([POOL]), str(tmp_path / "tuning"))
    assert pool["container_spec"]["args"] == [
        *["--", "--learning-rate", "0.001"],
        *["--learning_rate=0.002", "--batch_size=256", "--hidden_units=64,32"],
    ]
    assert repr((pool["replica_count"], pool["machine_spec"]["accelerator_count"])) == "(1, 1)"
    tuning = json.loads((tmp_path / "tuning" / "tuning.json").read_text())
    assert (tuning["best"], len(tuning["trials"])) == ("2", 2)
    assert POOL["container_spec"]["args"] == ["--", "--learning-rate", "0.001"]


@pytest.fixture
def google(tmp_path, monkeypatch):
    """Vertex's own host on loopback; returns the requests it got."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, self.headers["Authorization"]))
            is_job = self.path == urlsplit(URI).path
            body = json.dumps(job(0.3, 0.2) if is_job else {"error": {"code": 404}}).encode()
            self.send_response(200 if is_job else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    certificate, key = tls.make_certificate(urlsplit(URI).hostname)
    (tmp_path / "both.pem").write_bytes(key + certificate)
    (tmp_path / "roots.pem").write_bytes(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with storage.serving() as tokens, tls._proxy(server.server_port) as proxy:
        credentials = storage.write_credentials(tmp_path / "key.json", tokens.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
        monkeypatch.setenv("https_proxy", proxy)
        monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "roots.pem"))
        yield requests
    server.shutdown()
    server.server_close()


def test_vertex_is_called_with_the_credentials_of_the_run(google):
    assert best_trial.best_trial(best_trial.read_job(URI))["id"] == "2"
    ((path, authorization),) = google
    assert path == "/v1/projects/p/locations/l/x/1"
    assert authorization.startswith("Bearer ")


def test_a_job_that_vertex_does_not_know_is_named(google):
    with pytest.raises(TrainingFailed, match=r"x/2 cannot be read: 404"):
        best_trial.read_job(URI.replace("/1", "/2"))


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/v1/x",
        "http://europe-west1-aiplatform.googleapis.com/v1/x",
        "https://x-aiplatform.googleapis.com.example.com/",
    ],
)
def test_a_token_goes_to_vertex_alone(uri):
    with pytest.raises(TrainingFailed, match="is no tuning job of Vertex AI"):
        best_trial.read_job(uri)
