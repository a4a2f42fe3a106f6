"""Documents: specs, settings, prices, pipelines and records of runs; times and crons."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from hypothesis import strategies as st

from quatrain.components import history
from quatrain.components.errors import QuatrainError
from quatrain.components.preprocess.drift.compare import compare_all
from quatrain.components.specification.schema import Drift
from quatrain.components.tiers.prices import OWN, load_prices
from quatrain.components.times import run_time
from quatrain.components.train.plan import resolve_tier
from quatrain.pipelines.compiled import compile_pipeline, read_compiled
from quatrain.terminal.printouts import run_details
from quatrain.validation.load import load_spec
from quatrain.vertex.cloud_file import load_cloud
from quatrain.vertex.schedules.cron import read_cron, read_time
from tests.fuzz.door import Door, refusal
from tests.fuzz.mutation import VALUES, altered, mutated
from tests.quatrain.vertex.test_cloud_file import CLOUD

ROOT = Path(__file__).parents[2]
RUN = next((ROOT / "tests/fixtures/root-0.1.0/root/toys").glob("2*351-*"))
STATISTICS = RUN.parent / "statistics/champion.json"

_SPEC = yaml.safe_load((ROOT / "examples/flights/flights.yaml").read_text(encoding="utf-8"))
_CUSTOM = {
    **_SPEC,
    "train": {
        "tier": "CUSTOM",
        "config": {
            "trainingInput": {
                "scaleTier": "CUSTOM",
                "masterType": "n1-standard-8",
                "masterConfig": {"acceleratorConfig": {"type": "NVIDIA_TESLA_T4", "count": 1}},
                "workerType": "n1-standard-4",
                "workerCount": 2,
            }
        },
    },
}
_CLOUD = {**CLOUD, "labels": {"a": "b"}, "runner_options": {"x": ["y"]}, "budget_usd": 5}
_LIMITS = {name: getattr(Drift(), name) for name in Drift.model_fields}
_SETTINGS = [
    *(
        "name=x",
        "train.epochs=3",
        "a.b.c={}",
        "features=[]",
        "source=rows.csv",
        "source.uri=",
        "=",
        "",
    ),
    *("label.x=1", ".=1", "..=1", "a=", "a=[", "a={x: 1, x: 2}", "columns.dep_time={type: float}"),
    *(
        "columns.dep_time.epoch=s",
        "split.by=time",
        "train.tier=PREMIUM_1",
        "evaluate.gate.auc.min=x",
    ),
]


def _spec(path: Path, overrides: list[str]) -> None:
    spec = load_spec(path, overrides)
    assert spec == load_spec(path, overrides)
    resolve_tier(spec, "")


def _cloud(path: Path, overrides: list[str]) -> None:
    load_cloud(path, overrides)


def _report(path: Path, _: list[str]) -> None:
    """Prints a run whose run.json or metrics.json is altered."""
    document = json.loads(path.read_bytes())
    for name in ("run.json", "metrics.json"):
        same = name == (
            "metrics.json" if isinstance(document, dict) and "gate" in document else "run.json"
        )
        source = path if same else RUN / name
        (path.parent / name).write_bytes(source.read_bytes())
    run_details(path.parent)


def _history(path: Path, _: list[str]) -> None:
    """Compares rows with those of an earlier run whose record is altered."""
    place = path.parent / "toys/statistics/champion.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    record = json.loads(STATISTICS.read_text(encoding="utf-8"))
    compare_all(history.earlier_runs(str(path.parent), "toys"), record["statistics"], _LIMITS)


def _yaml(document: Any) -> bytes:
    return yaml.dump(document, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


def _json(document: Any) -> bytes:
    return json.dumps(document, default=str).encode()


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


READERS: dict[str, tuple[Callable[[Path, list[str]], Any], Callable[[Any], bytes], Any]] = {
    "spec": (_spec, _yaml, _SPEC),
    "custom": (_spec, _yaml, _CUSTOM),
    "cloud": (_cloud, _yaml, _CLOUD),
    "prices": (lambda p, _: load_prices(p), _yaml, yaml.safe_load(OWN.read_text(encoding="utf-8"))),
    "pipeline": (lambda p, _: read_compiled(p), _yaml, None),
    "run": (_report, _json, _read(RUN / "run.json")),
    "metrics": (_report, _json, _read(RUN / "metrics.json")),
    "statistics": (_history, _json, _read(STATISTICS)),
}
"""By kind of document: what reads it, how it is written, and a valid one."""


@st.composite
def _cases(draw: Any) -> tuple[str, bytes, list[str]]:
    """Returns a kind of document, its bytes, and settings of options."""
    kind = draw(st.sampled_from([k for k in READERS if k != "pipeline"] * 3 + ["pipeline"]))
    _, write, document = READERS[kind]
    if document is None:
        document = _pipeline()
    if draw(st.booleans()):
        data = write(draw(altered(document)))
    else:
        data = draw(mutated([write(document)]))
    settings = draw(st.lists(_overrides(), max_size=2)) if kind in ("spec", "cloud") else []
    return kind, data, settings


def _overrides() -> st.SearchStrategy[str]:
    def text(key: str, value: Any) -> str:
        return f"{key}={yaml.safe_dump(value, default_flow_style=True).strip()}"

    keys = st.sampled_from(
        ["name", "label", "source.uri", "split", "train.epochs", "root", "image", "x.y"]
    )
    values = st.sampled_from([v for v in VALUES if not (isinstance(v, str) and "\ud800" in v)])
    return st.sampled_from(_SETTINGS) | st.text(max_size=9) | st.builds(text, keys, values)


def _pipeline() -> Any:
    if not _COMPILED:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = compile_pipeline(Path(folder) / "training.yaml", str(CLOUD["image"]))
            _COMPILED.append(yaml.safe_load(path.read_text(encoding="utf-8")))
    return _COMPILED[0]


_COMPILED: list[Any] = []


def _make_check(folder: Path) -> Callable[[tuple[str, bytes, list[str]]], str]:
    def check(case: tuple[str, bytes, list[str]]) -> str:
        kind, data, overrides = case
        path = folder / "document"
        path.write_bytes(data)
        if kind in ("run", "metrics") and not _is_json(data):
            kind = "spec"
        try:
            READERS[kind][0](path, overrides)
        except QuatrainError as error:
            return refusal(error)
        return "read"

    return check


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


_CRONS = [
    "0 3 * * 1",
    "TZ=Europe/Berlin 0 3 * * 1",
    "*/5 1-5 1,15 jan-mar mon",
    "CRON_TZ=UTC 59 23 31 12 7",
]
_MOMENTS = [
    "2013-07-01",
    "2013-07-01T03:00:00Z",
    "2013-07-01 03:00+02:00",
    "9999-12-31T23:59:59-12:00",
]
_TIME_TOKENS = [
    *(
        b"0",
        b"60",
        b"-",
        b"*/0",
        b"*",
        b"/",
        b",",
        b"TZ=",
        b" ",
        b"L",
        b"#",
        b"?",
        b"99999999999",
        b"sun",
    ),
    *(
        b"feb",
        b"30",
        b"31",
        b"\x00",
        b"../",
        b"Etc/",
        b"GMT+5",
        b":",
        b"T",
        b"Z",
        b"+14:00",
        b"\xc3\xa9",
        b"W",
    ),
]


def _make_times_check(_: Path) -> Callable[[bytes], str]:
    now = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)

    def check(data: bytes) -> str:
        text, outcome = data.decode("utf-8", "surrogateescape"), "refused"
        for read in (run_time, lambda t: read_time("--start", t, ZoneInfo("Europe/Berlin"))):
            try:
                read(text)
                outcome = "read"
            except QuatrainError as error:
                refusal(error)
        try:
            cron = read_cron(text)
        except QuatrainError as error:
            refusal(error)
            return outcome
        times = [time for time, _ in zip(cron.following(now), range(5), strict=False)]
        assert times == sorted(set(times)) and all(time > now for time in times)
        assert read_cron(cron.text) == cron
        return "read"

    return check


DOORS = (
    Door("documents", _cases(), _make_check, 500),
    Door(
        "times",
        mutated([t.encode() for t in _CRONS + _MOMENTS], _TIME_TOKENS, most=4),
        _make_times_check,
        1000,
    ),
)
