"""kfp is imported without its client, and is the same to whoever else uses it."""

import subprocess
import sys
from pathlib import Path

CODE = Path(__file__).parents[2]


def printed_by(program: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(CODE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout


def test_a_run_does_not_import_the_client_of_a_kubeflow_server():
    program = (
        "import sys, quatrain.face.run\n"
        "print({'kfp.local', 'kubernetes', 'duckdb', 'quatrain.draft'} & set(sys.modules))"
    )
    assert printed_by(program) == "{'kfp.local'}\n"


def test_a_notebook_has_kfp_as_a_whole():
    program = (
        "import os\n"
        "from quatrain.pipelines.kfp_import import import_kfp\n"
        "import_kfp()\n"
        "import kfp\n"
        "print(kfp.Client.__module__, kfp.dsl.pipeline.__name__, kfp.components.__name__)\n"
        "print(hasattr(kfp, 'nothing'), '_KFP_RUNTIME' in os.environ)"
    )
    assert printed_by(program) == "kfp.client.client pipeline kfp.components\nFalse False\n"
