"""What the name of a column suggests."""

from __future__ import annotations

import re

# The sets of words below are matched with the words of a name; see `words`.
_ID = {
    "hid",
    "pid",
    "uid",
    "cid",
    "sid",
    "hhid",
    "id",
    "ids",
    "uuid",
    "guid",
    "identifier",
    "key",
    "rowid",
    "idx",
    "index",
    "rownum",
}
_CODE = {"code", "codes", "zip", "zipcode", "postcode", "postal", "plz", "fips", "class", "type"}
_PERIOD = {"year", "yr", "years", "jahr", "annee", "ano", "season", "week", "month", "decade"}
_YEAR = {"year", "yr", "years", "jahr", "annee", "ano", "time", "date"}
_PERSON = {"subject", "patient", "individual", "participant", "respondent", "household"}
_TIME = {"time", "date", "timestamp", "ts", "epoch", "datetime", "at", "created", "unixtime"}
_GLUED_ID = re.compile(
    r"(?:user|customer|client|patient|order|session|product|item|device|account|case|person|subject|household|member|student|employee|company)id"
)


def words(name: str) -> set[str]:
    """Returns the words of a name: the same two for PassengerId, passenger_id and passenger id."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return set(re.findall(r"[^\W_]+", parted.lower()))


def names_an_entity(name: str) -> bool:
    """Whether a name suggests that the column identifies whom or what a row is about."""
    parts = words(name)
    if parts & _ID or (len(parts) == 1 and parts & _PERSON):
        return True
    return _GLUED_ID.search(re.sub(r"[\W_]", "", name.lower())) is not None


def names_something(name: str) -> bool:
    """Whether a name suggests codes or identifiers: numbers whose sum means nothing."""
    return bool(words(name) & _CODE) or names_an_entity(name)


def names_a_time(name: str) -> bool:
    """Whether a name suggests that a number is a time."""
    return bool(words(name) & _TIME)


def names_a_year(name: str) -> bool:
    """Whether a name suggests that a number is a year."""
    return bool(words(name) & _YEAR)


def names_a_period(name: str) -> bool:
    """Whether a name suggests that a number is a time, or a period such as a week."""
    return bool(words(name) & (_TIME | _PERIOD))


def quoted(name: str) -> str:
    """Returns a column's name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'
