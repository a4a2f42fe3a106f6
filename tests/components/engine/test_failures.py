"""What a runner raises becomes a few lines; other errors stay as they are."""

from __future__ import annotations

import pytest
from grpc import FutureTimeoutError, RpcError

from quatrain.components.engine.failures import explain_engine
from quatrain.components.errors import DataError, QuatrainError, RunnerError, StepError

BEAM = '  File "apache_beam/runners/common.py", line 1059, in PerWindowInvoker.invoke\n'
TRACEBACK = f"""Pipeline job-1 failed in state FAILED: Traceback (most recent call last):
{BEAM}KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/q/run.py", line 1, in run
    pipeline.run()
{BEAM}  File "/q/preprocess/pipeline.py", line 142, in process
    yield passes.engineer_range(span)
  File "/q/preprocess/passes.py", line 9, in engineer_range
    return table["x"]
           ~~~~~^^^^^
"""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            RuntimeError(TRACEBACK + "KeyError: \"x [while running 'Engineer']\"\n"),
            StepError,
            'step Engineer raised KeyError: "x"; Quatrain does not expect that, so report it '
            "with these lines:\n"
            "/q/preprocess/pipeline.py:142 in process: yield passes.engineer_range(span)\n"
            '/q/preprocess/passes.py:9 in engineer_range: return table["x"]',
        ),
        (
            RuntimeError(
                f"{TRACEBACK}quatrain.components.errors.DataError: no rows [while running 'Fit']"
            ),
            DataError,
            "no rows",
        ),
        (
            RuntimeError("Pipeline job-1 failed in state FAILED: java.lang.OutOfMemoryError"),
            RunnerError,
            "the engine ended the job; read its log, which ends so: Pipeline job-1 failed in state "
            "FAILED: java.lang.OutOfMemoryError",
        ),
        (
            RpcError("UNAVAILABLE: Socket closed"),
            RunnerError,
            "the job server is gone, or refuses the job (UNAVAILABLE: Socket closed); nothing was "
            "written. Start it again, and read its log",
        ),
        (
            FutureTimeoutError(),
            RunnerError,
            "the job server takes the connection but does not answer; job_endpoint must be the "
            "address of a Beam job server that runs",
        ),
        (QuatrainError("ours"), QuatrainError, "ours"),
        (KeyError("a bug before the run"), KeyError, "'a bug before the run'"),
        (RuntimeError("Channel closed prematurely."), RuntimeError, "Channel closed prematurely."),
    ],
)
def test_an_error_of_a_runner_is_a_few_lines(
    error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught, explain_engine():
        raise error
    assert type(caught.value) is kind
    assert str(caught.value) == message
