"""The section `source`: where the rows are and how they are written."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8, check_encoding, is_utf8
from quatrain.components.specification.section import Section, as_list
from quatrain.components.uris import check_uri

DELIMITER = r"^[\x01-\t\x0b\x0c\x0e-!#-\x7f]$"
"""One ASCII character, as pyarrow's CSV reader takes it; no quote, line end or NUL."""
DATED = re.compile(r"\{date(?::(?P<form>[^{}]*))?\}")
"""The place of the day in a uri: {date}, or {date:%Y/%m/%d}."""
DAY = "%Y-%m-%d"
TABLE = r"bq://([a-z][a-z0-9.:-]*)\.(\w+)\.([^./`]+)"
"""A table of BigQuery: its project, dataset and name."""


def is_table(uri: str) -> bool:
    """Whether a uri names a table of BigQuery, and not files."""
    return uri.startswith("bq://")


def _read_window(value: Any) -> Any:
    """Checks a window; 90d means the 90 days before the day of the run."""
    if value is not None and not re.fullmatch(r"[1-9][0-9]{0,3}d", str(value)):
        raise ValueError(f"{value!r} is no number of days; write it as 90d")
    return value


class Source(Section):
    """Where the rows are and how they are written."""

    uri: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]
    format: Literal["csv", "parquet", "jsonl", "bigquery"] = "csv"
    nulls: tuple[str, ...] = ("", "NA")
    delimiter: Annotated[str, Field(pattern=DELIMITER)] = ","
    quoted_newlines: bool = False
    encoding: Annotated[str, AfterValidator(check_encoding)] = UTF_8
    skip_rows: Annotated[int, Field(ge=0)] = 0
    skip_rows_after_header: Annotated[int, Field(ge=0)] = 0
    optional_keys: bool = False
    window: Annotated[str | None, BeforeValidator(_read_window)] = None

    @model_validator(mode="before")
    @classmethod
    def _infer_bigquery(cls, value: Any) -> Any:
        """Sets the format of a source that has bq:// uris but names no format."""
        uris = as_list(value.get("uri")) if isinstance(value, Mapping) else None
        if not isinstance(uris, list | tuple) or "format" in value:
            return value
        tables = [u for u in uris if isinstance(u, str) and is_table(u)]
        return {**value, "format": "bigquery"} if tables else value

    @model_validator(mode="after")
    def _check_tables(self) -> "Source":
        """Checks the names of BigQuery tables, and that they do not stand beside files."""
        tables = [uri for uri in self.uri if is_table(uri)]
        for uri in tables:
            if not re.fullmatch(TABLE, DATED.sub("x", uri)):
                raise ValueError(f"{uri!r} is no table; write it as bq://project.dataset.table")
        if (self.format == "bigquery") != bool(tables) or 0 < len(tables) < len(self.uri):
            raise ValueError(
                "tables (bq://) must be of format bigquery, and cannot stand beside files"
            )
        return self

    @model_validator(mode="after")
    def _check_text(self) -> "Source":
        """Checks that keys about text stand beside text, and those about a header beside a CSV."""
        if self.format in ("parquet", "bigquery") and not is_utf8(self.encoding):
            raise ValueError(
                f"encoding is for text, and a source of {self.format} has none; leave it out"
            )
        if self.format != "csv" and (self.skip_rows or self.skip_rows_after_header):
            raise ValueError("skip_rows and skip_rows_after_header are for a CSV; leave them out")
        return self

    @model_validator(mode="after")
    def _refuse_passwords(self) -> "Source":
        for uri in self.uri:
            if re.search(r"://[^/@]*:[^/@]*@", uri):
                scheme, _, rest = uri.partition("://")
                raise ValueError(
                    f"a uri of {scheme}://...@{rest.split('@')[1]} holds a password, which all who "
                    f"see the run could read; give the run's account access in its place"
                )
        return self

    @model_validator(mode="after")
    def _check_uris(self) -> "Source":
        """Checks that nothing but files, buckets and BigQuery would be asked for the rows."""
        for uri in self.uri:
            try:
                if not is_table(uri):
                    check_uri(DATED.sub("x", uri))
            except SourceError as error:
                raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _check_window(self) -> "Source":
        """Checks that a window and dated uris go together, and that a uri's date names one day."""
        dated = [uri for uri in self.uri if DATED.search(uri)]
        if dated and self.window is None:
            raise ValueError(f"{dated[0]!r} has a date, so say which days: add window: 90d")
        if self.window is not None and not dated:
            raise ValueError(
                f"window is {self.window!r}, but no uri has a date; write {{date}} where the day "
                f"stands, as gs://bucket/flights/dt={{date}}/*.parquet"
            )
        for uri in dated:
            used = [d for date in DATED.finditer(uri) for d in _directives(date["form"] or DAY)]
            if set(used) != {"%Y", "%m", "%d"}:
                raise ValueError(
                    f"the dates of {uri!r} must name one day, by %Y, %m and %d and no other code; "
                    f"they have {', '.join(dict.fromkeys(used)) or 'none'}"
                )
        return self


def _directives(form: str) -> list[str]:
    return re.findall(r"%.?", form)
