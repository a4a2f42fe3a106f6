"""Writes schema.json: what Terraform's Google providers know of the resources that deploy/ uses.

HashiCorp publishes the schema of a provider only inside the provider. PyPI has it as Python
classes: cdktf-cdktf-provider-google, and -beta, hold one module for each resource. Their two wheels
have 102 MB (368 MB unpacked) and need Node.js to be imported. So they are no requirement of the
tests: they are read as text here, and what deploy/ uses of them is committed. `make schema` runs
this again when deploy/ uses another type of resource.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

VERSION = "16.12.1"
PROVIDERS = {"google": "", "google-beta": "google_"}
"""The providers, with what stands before a resource in the name of its module."""
DEPLOY = Path(__file__).parents[2] / "deploy"
SCHEMA = Path(__file__).with_name("schema.json")
META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}
"""Arguments of Terraform itself, which every resource takes."""


def used_resources() -> dict[str, str]:
    """Returns the provider of each type of resource in deploy/."""
    text = "\n".join(path.read_text() for path in sorted(DEPLOY.glob("*.tf")))
    bodies = re.findall(r'^resource "(\w+)" "\w+" \{\n(.*?)^\}', text, flags=re.M | re.S)
    return {name: "google-beta" if "google-beta" in body else "google" for name, body in bodies}


def block(classes: dict[str, ast.ClassDef], name: str) -> dict[str, Any]:
    """Returns the arguments of a class and its blocks."""
    (init,) = [n for n in classes[name].body if getattr(n, "name", "") == "__init__"]
    assert isinstance(init, ast.FunctionDef)
    arguments: dict[str, Any] = {"required": [], "optional": [], "blocks": {}}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if argument.arg in META:
            continue
        arguments["optional" if default else "required"].append(argument.arg)
        assert argument.annotation
        inner = set(re.findall(r"\w+", ast.unparse(argument.annotation))) & set(classes)
        if inner:
            arguments["blocks"][argument.arg] = block(classes, inner.pop())
    return arguments


def resource(source: str, name: str) -> dict[str, Any]:
    """Returns the arguments of a resource, its blocks and what can be read from it."""
    classes = {n.name: n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)}
    (own,) = [
        c
        for c, node in classes.items()
        if any("TerraformResource" in ast.unparse(b) for b in node.bases)
    ]
    properties = [
        n.name
        for n in classes[own].body
        if isinstance(n, ast.FunctionDef)
        and any(ast.unparse(d) == "builtins.property" for d in n.decorator_list)
    ]
    assert f"google_{name}" in source
    readable = sorted(p for p in properties if not p.endswith("_input"))
    return {**block(classes, own), "readable": readable}


def main() -> None:
    """Downloads the wheels and writes the schema."""
    resources, versions = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for provider, prefix in PROVIDERS.items():
            package = f"cdktf-cdktf-provider-{provider}"
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
            subprocess.run([*command, "--only-binary=:all:", f"{package}=={VERSION}"], check=True)
            (wheel,) = Path(folder).glob(f"{package.replace('-', '_')}-{VERSION}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for name, of in sorted(used_resources().items()):
                    if of != provider:
                        continue
                    module = f"{prefix}{name.removeprefix('google_')}"
                    path = f"{package.replace('-', '_')}/{module}/__init__.py"
                    source = archive.read(path).decode()
                    resources[name] = resource(source, name.removeprefix("google_"))
                    match = re.search(rf"hashicorp/{provider}/([\d.]+)/docs", source)
                    assert match
                    versions[provider] = match[1]
    document = {"package": VERSION, "providers": versions, "resources": resources}
    SCHEMA.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
