from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from quatrain.components import errors
from quatrain.components.errors import ErrorRecord


@pytest.mark.parametrize("kind", [errors.QuatrainError, errors.DataError, errors.SourceDenied])
def test_an_error_survives_the_way_through_a_worker(kind: type[errors.QuatrainError]) -> None:
    written = json.dumps(asdict(ErrorRecord.of(kind("row 7 is empty"))))
    record = ErrorRecord(**json.loads(written))
    assert type(record.error) is kind
    assert str(record.error) == "row 7 is empty"
