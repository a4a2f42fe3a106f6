"""Tiers resolve to pools that Vertex's own message accepts, and illegal ones are refused."""

import datetime
import json

import pytest

from quatrain.components.errors import TierError
from quatrain.components.tiers import tiers
from quatrain.components.tiers.pools import Pool
from quatrain.components.tiers.rules import load

DAY = datetime.date(2026, 11, 20)
CONTAINER = {"image_uri": "img", "command": ["python"], "args": ["--epochs", "3"]}


def pool(machine, count=1, **more):
    return Pool(machine_type=machine, replica_count=count, **more)


T4 = {"accelerator_type": "NVIDIA_TESLA_T4"}
GPU = pool("n1-standard-8", **T4, accelerator_count=2)


@pytest.fixture(scope="module")
def custom_job():
    from google.cloud import aiplatform_v1

    return aiplatform_v1.CustomJob


def resolved(name, pools=None, **more):
    return tiers.resolve(name, pools=pools, today=DAY, **more)


@pytest.mark.parametrize(
    "tier",
    [
        *(resolved(name) for name in tiers.names() if name != "CUSTOM"),
        resolved("STANDARD_1", replicas=2),
        resolved("CUSTOM", [GPU, GPU.model_copy(update={"replica_count": 3})]),
    ],
    ids=lambda tier: f"{tier.name}-{tier.replicas}",
)
def test_every_tier_is_a_job_that_vertex_accepts(tier, custom_job):
    spec = {
        "worker_pool_specs": tier.worker_pools(CONTAINER),
        "scheduling": tier.job_scheduling()._asdict(),
    }
    job = custom_job({"display_name": "d", "job_spec": json.loads(json.dumps(spec))})
    assert job.job_spec.scheduling.strategy.name == tier.scheduling
    assert [p.replica_count for p in job.job_spec.worker_pool_specs] == [
        p.replica_count for p in tier.pools
    ]


def test_vertex_refuses_a_float_count_so_whole_numbers_are_restored(custom_job):
    (spec,) = resolved("CUSTOM", [pool("n1-standard-8", 1.0)]).worker_pools(CONTAINER)
    assert repr(spec["replica_count"]) == "1"
    custom_job({"job_spec": {"worker_pool_specs": [spec]}})


def test_the_stated_strategy_is_the_one_the_hardware_calls_for():
    for name in tiers.names():
        if name != "CUSTOM":
            assert tiers.describe(name).strategy == resolved(name).strategy


@pytest.mark.parametrize(
    ("pools", "strategy"),
    [
        ([pool("n1-standard-8")], "one_device"),
        ([GPU], "mirrored"),
        ([pool("n1-standard-8"), pool("n1-standard-8", 2)], "multi_worker"),
        ([pool("ct5lp-hightpu-4t", tpu_topology="2x2")], "tpu"),
    ],
)
def test_a_custom_tier_takes_its_strategy_from_its_pools(pools, strategy):
    assert resolved("CUSTOM", pools).strategy == strategy


def test_replicas_cut_a_tier_with_the_chief_counted():
    assert [p.replica_count for p in resolved("STANDARD_1", replicas=2).pools] == [1, 1]
    alone = resolved("STANDARD_1", replicas=1)
    assert (len(alone.pools), alone.strategy) == (1, "one_device")


@pytest.mark.parametrize(
    ("name", "kwargs", "sentence"),
    [
        ("STANDART_1", {}, "did you mean 'STANDARD_1'"),
        ("basic", {}, "did you mean 'BASIC'"),
        ("BASIC", {"replicas": 2}, "choose 1 to 1"),
        ("STANDARD_1", {"replicas": 9}, "has 5 machines"),
        ("BASIC", {"pools": [pool("n1-standard-8")]}, "set train.tier to CUSTOM"),
        (
            "BASIC",
            {"scheduling": "FLEX_START"},
            "no such GPU, and FLEX_START waits for",
        ),
        (
            "H100_SPOT",
            {"scheduling": "STANDARD"},
            "set train.scheduling to SPOT or FLEX_START",
        ),
        ("CUSTOM", {}, "needs train.pools"),
    ],
)
def test_an_impossible_tier_is_refused_with_the_way_out(name, kwargs, sentence):
    with pytest.raises(TierError, match=sentence):
        resolved(name, **kwargs)


@pytest.mark.parametrize(
    ("pools", "sentence"),
    [
        ([pool("n1-standard-8", 2)], "put the other 1 into pool 1"),
        ([pool("n1-standard-8")] * 3, "Keras 3 does not have"),
        ([pool("n1-standart-8")], "did you mean 'n1-standard-8'"),
        ([pool("n1-highcpu-8")], "ended on 2025-01-31; use n1-standard-8"),
        ([pool("n1-standard-32", **T4, accelerator_count=1)], "takes 2, 4 .*set 2, the nearest"),
        ([pool("n1-standard-8", **T4)], "give both or neither"),
        ([pool("e2-standard-4", **T4, accelerator_count=1)], "takes no accelerator"),
        (
            [pool("n1-standard-8", accelerator_type="NVIDIA_L4", accelerator_count=1)],
            "takes no NVIDIA_L4",
        ),
        ([pool("g2-standard-24")], "comes with 2 NVIDIA_L4"),
        ([pool("a4x-highgpu-4g")], "unknown machine type"),  # by a reservation alone
        ([pool("ct5lp-hightpu-8t", tpu_topology="4x4")], "'4x4' of its own; choose 2x4"),
        ([pool("ct5lp-hightpu-4t", tpu_topology="2x4")], "the trainer uses the TPU chips of one"),
        ([pool("ct5lp-hightpu-4t", 2, tpu_topology="2x2")], "exactly 1 replica"),
        ([pool("n1-standard-8", tpu_topology="2x2")], "has no TPU"),
        ([GPU, pool("n1-standard-8", 2)], "same accelerators: give pool 1 those of pool 0"),
        (
            [pool("n1-standard-8", accelerator_type="NVIDIA_TESLA_P100", accelerator_count=1)],
            "ended on 2026-09-15; use NVIDIA_TESLA_T4",
        ),
    ],
)
def test_pools_that_vertex_would_refuse_are_refused_here(pools, sentence):
    with pytest.raises(TierError, match=sentence):
        resolved("CUSTOM", pools)


def test_a_tpu_machine_has_the_cores_of_its_topology():
    for machine, topologies in load()["tpu"].items():
        for topology in topologies:
            tier = resolved("CUSTOM", [pool(machine, tpu_topology=topology)], scheduling="SPOT")
            assert f"{tier.tpus}t" == machine.rpartition("-")[2]
    assert (resolved("L4_4").tpus, resolved("STANDARD_1").tpus) == (0, 0)


def test_a_flexible_start_takes_one_kind_of_machine():
    l4 = {"accelerator_type": "NVIDIA_L4", "accelerator_count": 1}
    pools = [pool("g2-standard-8", **l4), pool("g2-standard-16", **l4)]
    with pytest.raises(TierError, match="not g2-standard-16 and g2-standard-8; make them equal"):
        resolved("CUSTOM", pools, scheduling="FLEX_START")


def test_one_machine_s_end_starts_all_again_where_several_train_in_step():
    assert resolved("STANDARD_1_SPOT").job_scheduling().restart_job_on_worker_restart
    assert not resolved("L4_SPOT").job_scheduling().restart_job_on_worker_restart


@pytest.mark.parametrize(
    ("tier", "devices"), [("STANDARD_1", 5), ("A100_8", 8), ("BASIC_TPU", 8), ("L4", 1)]
)
def test_devices_are_accelerators_or_else_machines(tier, devices):
    assert resolved(tier).devices == devices


def test_support_that_ends_soon_is_a_warning_and_an_ended_one_an_error():
    p100 = [pool("n1-standard-8", accelerator_type="NVIDIA_TESLA_P100", accelerator_count=1)]
    before = datetime.date(2026, 9, 14)
    tier = tiers.resolve("CUSTOM", pools=p100, today=before)
    assert any("P100 ends on 2026-09-15" in w for w in tiers.warnings(tier, before))
    with pytest.raises(TierError, match="ended"):
        tiers.resolve("CUSTOM", pools=p100, today=datetime.date(2026, 9, 15))


def test_warnings_follow_the_date():
    tier = resolved("BASIC")
    assert tiers.warnings(tier, datetime.date(2025, 6, 1)) == []
    later = " ".join(tiers.warnings(tier, datetime.date(2027, 2, 1)))
    assert "training image (TF 2.17, Python 3.10) ended on 2026-07-11" in later
    assert "prediction image (TF 2.15) ended on 2027-01-14" in later


def test_the_gpu_of_a_tier_is_warned_of_half_a_year_before_its_end():
    tier = resolved("BASIC_GPU")
    sentence = "support of NVIDIA_TESLA_T4 ends on 2027-08-01; use NVIDIA_L4"
    assert sentence not in tiers.warnings(tier, datetime.date(2027, 1, 29))
    assert sentence in tiers.warnings(tier, datetime.date(2027, 1, 30))


T4_ENDS = datetime.date(2027, 8, 1)
"""The day that tiers.yaml names."""


def test_a_tier_whose_gpu_has_ended_moves_to_the_next_one_and_says_so():
    before = tiers.resolve("BASIC_GPU", today=T4_ENDS - datetime.timedelta(days=1))
    assert [str(pool) for pool in before.pools] == ["1 x n1-standard-8 + 1 NVIDIA_TESLA_T4"]
    assert before.moved == ()
    tier = tiers.resolve("BASIC_GPU", today=T4_ENDS)
    assert tier.pools == resolved("L4").pools
    assert tiers.describe("BASIC_GPU", T4_ENDS).pools == tier.pools
    assert tiers.warnings(tier, T4_ENDS, tiers.HARDWARE) == [
        "support of NVIDIA_TESLA_T4 ended on 2027-08-01; tier BASIC_GPU has 1 x g2-standard-8 + "
        "1 NVIDIA_L4 in the place of 1 x n1-standard-8 + 1 NVIDIA_TESLA_T4"
    ]


@pytest.mark.parametrize("gpu", ["NVIDIA_TESLA_T4", "NVIDIA_TESLA_P100"])
def test_pools_of_a_spec_do_not_move_and_their_error_names_a_successor(gpu):
    pools = [pool("n1-standard-8", accelerator_type=gpu, accelerator_count=1)]
    with pytest.raises(TierError, match=f"{gpu} is no longer for training.*; use NVIDIA_L4$"):
        tiers.resolve("CUSTOM", pools=pools, today=T4_ENDS)


@pytest.mark.parametrize("name", [name for name in tiers.names() if name != "CUSTOM"])
def test_every_tier_outlives_all_ends_of_support(name):
    last = max(end["date"] for end in load()["ends"])
    assert tiers.resolve(name, today=last).strategy == resolved(name).strategy


def test_the_launcher_s_whole_payload_is_a_job_that_vertex_accepts(custom_job):
    """As CustomTrainingJobOp 2.22 writes it, and as its launcher then prunes it."""
    payload = {
        "display_name": "quatrain-training-20261123",
        "job_spec": {
            "worker_pool_specs": resolved("STANDARD_1").worker_pools(CONTAINER),
            "scheduling": {
                "timeout": "604800s",
                "restart_job_on_worker_restart": False,
                "strategy": "STANDARD",
                "max_wait_duration": "0s",
            },
            "service_account": "",
            "network": "",
            "base_output_directory": {"output_uri_prefix": "gs://b/model"},
            "persistent_resource_id": "",
            "psc_interface_config": {},
        },
        "labels": {},
        "encryption_spec": {"kms_key_name": ""},
    }
    job = custom_job(json.loads(json.dumps(payload)))
    assert job.job_spec.base_output_directory.output_uri_prefix == "gs://b/model"
    assert [p.container_spec.args[0] for p in job.job_spec.worker_pool_specs] == ["--epochs"] * 2
