"""`quatrain models --cloud` shows what each run serves, as far as the service says it."""

import json
from collections.abc import Callable

from tests.quatrain.vertex.releases.conftest import Google, Verb
from tests.quatrain.vertex.releases.test_bad_answers import denied

MODELS = ("models", "toy", "--cloud", "cloud.yaml")


def column(table: str) -> dict[str, str]:
    """Returns the cell `serves` of each run."""
    titles, *rows = table.splitlines()[:-1]
    start = titles.index("serves")
    end = titles.index("spec")
    return {row.split()[1]: row[start:end].strip() for row in rows}


def test_each_run_has_its_share_of_each_endpoint(
    google: Google, released: Callable[..., None], quatrain: Verb
) -> None:
    released("r1")
    released("r2", "release.min_requests=100000")

    code, out, err = quatrain(*MODELS)

    assert (code, err) == (0, "")
    assert column(out) == {"r2*": "toy 10 %", "r1": "toy 90 %"}
    code, out, _ = quatrain(*MODELS, "--json")
    assert [e["serves"] for e in json.loads(out)] == [{"toy": 10}, {"toy": 90}]
    code, out, _ = quatrain("models", "--cloud", "cloud.yaml")
    assert (code, column(out)) == (0, {"r2*": "toy 10 %"})


def test_a_run_that_serves_nothing_has_a_dash(
    google: Google, promoted: Callable[[str], None], quatrain: Verb
) -> None:
    promoted("r1")

    code, out, _ = quatrain(*MODELS)

    assert (code, column(out)) == (0, {"r1*": "-"})


def test_a_service_that_refuses_leaves_the_table_and_says_so(
    google: Google, released: Callable[..., None], quatrain: Verb
) -> None:
    released("r1")
    denied("list_endpoints")(google)

    code, out, err = quatrain(*MODELS)

    assert (code, column(out)) == (0, {"r1*": "?"})
    assert err.startswith("what toy serves is not known: cannot list endpoints: Permission denied")


def test_without_a_cloud_nothing_is_asked(
    google: Google, released: Callable[..., None], quatrain: Verb
) -> None:
    released("r1")
    google.serving.calls.clear()

    code, out, _ = quatrain("models", "toy", "--root", "gs://bucket/quatrain")

    assert code == 0 and "serves" not in out and not google.serving.calls
