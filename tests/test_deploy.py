"""The Terraform module suits its providers, and grants the roles of docs/security.md, no others."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from quatrain.vertex.cloud_file import load_cloud
from quatrain.vertex.doctor.roles import ACCOUNT_ROLES, BUCKET_ROLES, PROJECT_ROLES, RUNNER_ROLES
from tests.terraform.extract_schema import META, SCHEMA, used_resources

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "deploy").glob("*.tf"))
TOKEN = re.compile(
    r'(?P<heredoc><<-?(?P<end>\w+)\n.*?\n\s*(?P=end)\b)|(?P<string>"(?:\\.|\$\{[^}]*\}|[^"\\\n])*")'
    r"|(?P<comment>#[^\n]*)|(?P<word>[\w.-]+)|(?P<line>\n)|(?P<space>[ \t]+)|(?P<sign>[^\s\w])",
    re.S,
)


@dataclass
class Block:
    """A block of HCL: its words (`resource`, type, name), its attributes and its inner blocks."""

    words: list[str]
    attributes: dict[str, str] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)


def parse(text):
    """Reads the part of HCL's grammar that the module uses; anything else is an error."""
    significant = [m for m in TOKEN.finditer(text) if m.lastgroup not in ("comment", "space")]
    tokens = [(m.lastgroup, m.group()) for m in significant]
    assert "".join(m.group() for m in TOKEN.finditer(text)) == text
    root, at = Block([]), body(Block([]), tokens, 0)[1]
    assert at == len(tokens), "a brace is closed that was not opened"
    return body(root, tokens, 0)[0].blocks


def body(block, tokens, at):
    while at < len(tokens) and tokens[at][1] != "}":
        if tokens[at][0] == "line":
            at += 1
            continue
        kind, word = tokens[at]
        assert kind == "word", f"a name is expected, not {word!r}"
        words, at = [word], at + 1
        while tokens[at][0] in ("string", "word"):
            words.append(tokens[at][1].strip('"'))
            at += 1
        if tokens[at][1] == "=":
            value, at = expression(tokens, at + 1)
            assert word not in block.attributes, f"{word} is set twice"
            block.attributes[word] = value
        else:
            assert tokens[at][1] == "{", f"{word}: a brace or = is expected"
            inner, at = body(Block(words), tokens, at + 1)
            assert tokens[at][1] == "}"
            block.blocks.append(inner)
            at += 1
    return block, at


def expression(tokens, at):
    parts, open_ = [], []
    while open_ or tokens[at][0] != "line":
        text = tokens[at][1]
        if text in ("(", "[", "{"):
            open_.append({"(": ")", "[": "]", "{": "}"}[text])
        elif text in (")", "]", "}"):
            assert open_ and open_.pop() == text, f"{text} closes nothing"
        parts.append(text)
        at += 1
    return " ".join(parts), at


@pytest.fixture(scope="module")
def blocks():
    return [block for path in FILES for block in parse(path.read_text())]


def resources(blocks, kind):
    return {b.words[2]: b for b in blocks if b.words[:2] == ["resource", kind]}


def test_the_bucket_is_regional_uniform_and_not_public(blocks):
    (bucket,) = resources(blocks, "google_storage_bucket").values()
    expected = {
        "location": "var.location",
        "uniform_bucket_level_access": "true",
        "public_access_prevention": '"enforced"',
        "force_destroy": "false",
    }
    assert bucket.attributes.items() >= expected.items()
    # A rule by age would delete the champion, which may be the oldest model.
    assert "lifecycle_rule" not in {block.words[0] for block in bucket.blocks}


def wrong_arguments(block, schema, where):
    """What the provider would refuse of a block: unknown, missing or misplaced arguments."""
    inner = {}
    for b in block.blocks:
        if b.words[0] == "dynamic":
            (content,) = b.blocks
            inner[b.words[1]] = content
        else:
            inner[b.words[0]] = b
    given, blocks = set(block.attributes) - META, schema["blocks"]
    known = {*schema["required"], *schema["optional"]}
    yield from (f"{where}.{name} is unknown" for name in sorted({*given, *inner} - known))
    missing = set(schema["required"]) - given - set(inner)
    yield from (f"{where}.{name} is missing" for name in sorted(missing))
    misplaced = (given & set(blocks)) | {name for name in set(inner) & known if name not in blocks}
    yield from (f"{where}.{name} is a block, or is none" for name in sorted(misplaced))
    for name, b in inner.items():
        if name in blocks:
            yield from wrong_arguments(b, blocks[name], f"{where}.{name}")


def test_every_argument_and_reference_suits_the_schema_of_the_providers(blocks):
    schema = json.loads(SCHEMA.read_text())["resources"]
    assert set(schema) == set(used_resources()), "run `make schema`"
    declared = [b for b in blocks if b.words[0] == "resource"]
    assert len(declared) > 20
    for block in declared:
        assert not list(wrong_arguments(block, schema[block.words[1]], block.words[1]))
    text = "\n".join(path.read_text() for path in FILES)
    read = re.findall(r"(?<![\w.])(google_\w+)\.\w+(?:\[\w+\])?\.(\w+)", text)
    assert len(read) > 10
    assert not [(kind, name) for kind, name in read if name not in schema[kind]["readable"]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("auto_close", "auto_closes"),
            "google_monitoring_alert_policy.alert_strategy.auto_closes is",
        ),
        (("combiner  ", "enabled   "), "google_monitoring_alert_policy.combiner is missing"),
        (("condition_matched_log {", "severity {"), "conditions.severity is unknown"),
        (("documentation {\n", "project {\n"), "google_monitoring_alert_policy.project is a block"),
    ],
)
def test_a_wrong_argument_is_found(change, problem):
    schema = json.loads(SCHEMA.read_text())["resources"]
    parsed = parse((ROOT / "deploy/main.tf").read_text().replace(*change))
    policy = resources(parsed, "google_monitoring_alert_policy")["runs"]
    found = list(wrong_arguments(policy, schema[policy.words[1]], policy.words[1]))
    assert [sentence for sentence in found if problem in sentence]


def test_each_alert_has_one_condition_on_logs_and_a_limit_of_messages(blocks):
    """Cloud Monitoring takes no second condition beside one on logs, and requires the limit."""
    policy = resources(blocks, "google_monitoring_alert_policy")["runs"]
    (conditions,) = [b for b in policy.blocks if b.words == ["conditions"]]
    assert [b.words for b in conditions.blocks] == [["condition_matched_log"]]
    (strategy,) = [b for b in policy.blocks if b.words == ["alert_strategy"]]
    assert "notification_rate_limit" in {b.words[0] for b in strategy.blocks}


def test_a_model_whose_runs_do_not_come_is_counted_over_its_own_days(blocks):
    """Absence is no condition here: it looks back 23.5 hours, which is less than a week."""
    metric = resources(blocks, "google_logging_metric")["runs"]
    (descriptor,) = [b for b in metric.blocks if b.words == ["metric_descriptor"]]
    assert descriptor.attributes == {"metric_kind": '"DELTA"', "value_type": '"INT64"'}
    policy = resources(blocks, "google_monitoring_alert_policy")["absent_runs"]
    assert policy.attributes["for_each"] == metric.attributes["for_each"]
    (conditions,) = [b for b in policy.blocks if b.words == ["conditions"]]
    (condition,) = conditions.blocks
    assert condition.words == ["condition_prometheus_query_language"]
    query = condition.attributes["query"].strip('"')
    name = "user_${google_logging_metric.runs[each.key].name}[${each.value}d]"
    # A log-based metric is named by ":" in PromQL, and no series at all counts as 0.
    assert query == f"(sum(increase(logging_googleapis_com:{name})) or vector(0)) < 1"
    assert int(condition.attributes["evaluation_interval"].strip('"s')) % 30 == 0
    (strategy,) = [b for b in policy.blocks if b.words == ["alert_strategy"]]
    assert not strategy.blocks  # a limit of messages is for conditions on logs alone


def test_every_reference_leads_to_a_declaration(blocks):
    text = "\n".join(path.read_text() for path in FILES)
    variables = {b.words[1] for b in blocks if b.words[0] == "variable"}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables
    (locals_,) = [b for b in blocks if b.words == ["locals"]]
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(locals_.attributes)
    declared = {f"{b.words[1]}.{b.words[2]}" for b in blocks if b.words[0] == "resource"}
    used = set(re.findall(r"(?<![\w.])(google_\w+\.\w+)", text))
    assert used <= declared
    assert all(b.attributes["description"] for b in blocks if b.words[0] in ("variable", "output"))


def test_roles_are_given_to_named_members_and_none_is_broad(blocks):
    text = (ROOT / "deploy/main.tf").read_text()
    roles = set(re.findall(r"roles/[\w.]+", text))
    assert not roles & {"roles/owner", "roles/editor", "roles/viewer"}
    assert not [role for role in roles if role.lower().endswith("admin")]
    members = [b for b in blocks if b.words[0] == "resource" and b.words[1].endswith("_member")]
    assert len(members) == 26
    named = {"local.trainer", "each.value", "each.value [ 1 ]"}
    named.add("google_service_account.builder [ 0 ] .member")
    named.add("google_project_service_identity.agents.member")
    for block in members:
        assert block.attributes["member"] in named
        assert {"role", "member"} <= set(block.attributes)
    assert "allUsers" not in text and "compute@developer" not in text


OF_ONE_S_OWN = {"roles/cloudkms.cryptoKeyEncrypterDecrypter"}
"""The role on a key, which the module neither makes nor gives."""


def test_the_page_gives_the_same_roles_as_the_module():
    page, module = (ROOT / "docs/security.md").read_text(), (ROOT / "deploy/main.tf").read_text()
    granted = set(re.findall(r"(?:--role=|GRANT `)(roles/[\w.]+)", page))
    assert granted - OF_ONE_S_OWN == set(re.findall(r"roles/[\w.]+", module))
    listed = {
        *PROJECT_ROLES,
        *RUNNER_ROLES["dataflow"],
        *ACCOUNT_ROLES,
        *BUCKET_ROLES,
    }
    assert listed <= granted
    services = r"\b[a-z]+\.googleapis\.com"
    assert set(re.findall(services, page)) == set(re.findall(rf"{services}(?=[\\\"])", module))


def test_the_output_is_a_cloud_yaml(blocks, tmp_path):
    (output,) = [b for b in blocks if b.words == ["output", "cloud_yaml"]]
    text = output.attributes["value"].split("\n", 1)[1].rsplit("\n", 1)[0]
    known = {"project": "my-project", "location": "europe-west1", "name": "my-bucket"}
    known |= {"email": "t@my-project.iam.gserviceaccount.com", "repository_id": "quatrain"}
    text = re.sub(r"\$\{var\.encryption_key == .*\}", "", text)
    text = re.sub(r"\$\{[\w.]*?(\w+)\}", lambda match: known[match[1]], text)
    settings = yaml.safe_load(text)
    (tmp_path / "cloud.yaml").write_text(yaml.safe_dump(settings))
    cloud = load_cloud(tmp_path / "cloud.yaml", allow_tag=True)
    assert cloud.root == "gs://my-bucket/quatrain"


def test_terraform_itself_takes_the_form_of_the_files():
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    command = [program, "fmt", "-check", "-diff", str(ROOT / "deploy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_parser_refuses_what_is_no_hcl():
    for wrong in ('a "b" {\n', "a = [1\n", "}\n", "a {\n b = 1\n b = 2\n}\n"):
        with pytest.raises((AssertionError, IndexError)):
            parse(wrong)
