"""The section `predict` of a spec: what the prediction pipeline writes, and where to."""

import re
from typing import Annotated

from pydantic import BeforeValidator, field_validator

from quatrain.components.specification.section import Section, as_list

DESTINATION = re.compile(r"bq://([a-z][a-z0-9.:-]*)\.(\w+)\.([^./`$]+)(?:\$(\d+))?")
"""A table of BigQuery to write to: its project, dataset and name, and a partition's digits."""


class Predict(Section):
    """The columns beside the answers, and a table that gets them.

    Attributes:
        keep: Columns of the input to copy; if there are none, the columns that identify a row.
        table: A table of BigQuery, whose partition of the job's day is replaced.
    """

    keep: Annotated[tuple[str, ...], BeforeValidator(as_list)] = ()
    table: str | None = None

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str | None) -> str | None:
        match = DESTINATION.fullmatch(value) if value else None
        if value is not None and (match is None or match[4]):
            raise ValueError(
                f"{value!r} is no table; write bq://project.dataset.table, without a partition, "
                f"which the day of the job names"
            )
        return value

    def partition(self, day: str) -> str:
        """Returns the uri of the partition of a day, written as 2013-07-01; or nothing."""
        return f"{self.table}${day.replace('-', '')}" if self.table else ""
