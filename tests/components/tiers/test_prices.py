"""What an hour of a tier and a run with trials cost, worked by hand."""

import pytest
import yaml

from quatrain.components.tiers import prices, tiers

N1 = 0.21849885  # n1-standard-4 as Google lists it: the table's own test
PRICES = prices.load_prices()


def hour(name, location="us-central1"):
    span = PRICES.of_tier(tiers.resolve(name, today=PRICES.checked), location)
    return span.low, span.high


def test_an_hour_follows_the_region():
    assert hour("BASIC") == pytest.approx((N1, N1))
    assert hour("BASIC", "europe-west4") == pytest.approx((1.1 * N1, 1.1 * N1))
    assert hour("BASIC", "") == pytest.approx((N1, 1.6 * N1))


def test_spare_capacity_is_a_range_below_the_list_price():
    # 91 % off Compute Engine's part at most, and the management's 15 % on top of its list price.
    assert hour("BASIC_SPOT") == pytest.approx(((0.09 + 0.15) / 1.15 * N1, N1), rel=2e-3)
    assert hour("A100_FLEX") == pytest.approx((0.507 * 4.43, 4.43))


@pytest.mark.parametrize("name", [name for name in tiers.names() if name != "CUSTOM"])
def test_every_tier_has_a_price(name):
    assert 0 < hour(name)[0] <= hour(name)[1]


def test_trials_cost_as_much_as_the_training_and_are_on_demand():
    estimates = [
        prices.estimate(PRICES, tiers.resolve("BASIC_SPOT"), "us-central1", 3600, trials=trials)
        for trials in (0, 10)
    ]
    # An hour and the allowance of half of one, ten times, on demand.
    more = estimates[1].total.high - estimates[0].total.high
    assert more == pytest.approx(10 * 1.5 * N1)
    for estimate in estimates:
        seconds = estimate.seconds_within(estimate.total.high)
        assert seconds == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", "has another form than prices.yaml (it must be a mapping); correct that"),
        ("checked: x", "(checked must be a day, as 2026-12-01; management is missing; "),
        ("prices: 1", "prices is an unknown key"),
    ],
)
def test_a_table_of_another_form_is_refused_in_our_words(tmp_path, text, sentence):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(prices.PriceError) as refused:
        prices.load_prices(tmp_path / "p.yaml")
    assert sentence in str(refused.value)


def test_a_price_table_without_a_tier_s_scheduling_is_an_error(tmp_path):
    table = yaml.safe_load(prices.OWN.read_text())
    del table["scheduling"]["SPOT"]
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(prices.PriceError, match="scheduling SPOT is not in the table"):
        prices.load_prices(path).of_tier(tiers.resolve("L4_SPOT"))
