"""The old service's config.yaml becomes pools of today, with a sentence for each change."""

import datetime

import pytest
from pydantic import ValidationError

from quatrain.components.errors import TierError
from quatrain.components.tiers.legacy_config import OldConfig, translate
from quatrain.components.tiers.pools import Pool, check_pools

DAY = datetime.date(2026, 11, 20)


def read(**keys):
    return OldConfig.model_validate({"trainingInput": {"scaleTier": "CUSTOM", **keys}})


def translated(day=DAY, **keys):
    pools, sentences = translate(read(**keys), day)
    check_pools(pools, day)
    return [str(pool) for pool in pools], "; ".join(sentences)


def test_a_cluster_with_parameter_servers_becomes_replicas_in_step():
    pools, sentences = translated(
        masterType="n1-highcpu-16",
        workerType="n1-highcpu-16",
        workerCount="9",  # as JSON writes int64
        parameterServerType="n1-highmem-8",
        parameterServerCount=3,
        evaluatorType="n1-standard-4",
        evaluatorCount=1,
    )
    assert pools == ["1 x n1-highcpu-16", "9 x n1-highcpu-16"]
    assert "3 parameter servers n1-highmem-8 cannot be used: Keras 3 has none" in sentences
    assert "1 evaluator n1-standard-4 is left out" in sentences


@pytest.mark.parametrize(
    ("machine", "today"),
    [
        ("large_model", "1 x n1-highmem-8"),
        ("complex_model_s", "1 x n1-standard-8"),  # n1-highcpu-8 is gone
        ("standard_gpu", "1 x n1-standard-8 + 1 NVIDIA_TESLA_T4"),
        ("complex_model_m_gpu", "1 x n1-standard-16 + 4 NVIDIA_TESLA_T4"),
        ("complex_model_l_gpu", "1 x n1-standard-32 + 4 NVIDIA_TESLA_T4"),  # it takes 2 or 4
        ("complex_model_m_p100", "1 x n1-standard-16 + 4 NVIDIA_TESLA_T4"),
        ("complex_model_l_v100", "1 x n1-standard-32 + 8 NVIDIA_TESLA_V100"),
    ],
)
def test_an_old_name_is_the_machine_that_takes_its_place(machine, today):
    pools, sentences = translated(masterType=machine)
    assert pools == [today]
    assert today in sentences


@pytest.mark.parametrize(
    ("machine", "then"),
    [
        ("standard_gpu", "1 x g2-standard-8 + 1 NVIDIA_L4"),
        ("standard_p100", "1 x g2-standard-8 + 1 NVIDIA_L4"),
        ("complex_model_m_gpu", "1 x g2-standard-48 + 4 NVIDIA_L4"),
        ("complex_model_l_gpu", "1 x g2-standard-96 + 8 NVIDIA_L4"),
    ],
)
def test_where_the_successor_has_ended_too_the_next_one_brings_its_machine(machine, then):
    pools, sentences = translated(datetime.date(2027, 8, 1), masterType=machine)
    assert pools == [then]
    assert then in sentences


def test_an_accelerator_config_stands_beside_its_machine():
    gpu = {"acceleratorConfig": {"type": "NVIDIA_TESLA_K80", "count": 1}, "imageUri": "gcr.io/x"}
    pools, sentences = translated(masterType="n1-standard-8", masterConfig=gpu)
    assert pools == ["1 x n1-standard-8 + 1 NVIDIA_TESLA_T4"]
    assert "1 NVIDIA_TESLA_K80 is no longer for training" in sentences
    assert "imageUri of train.config is not used" in sentences


def test_a_tpu_worker_becomes_one_machine_with_its_chips():
    tpu = {"acceleratorConfig": {"type": "TPU_V2", "count": 8}, "tpuTfVersion": "2.12"}
    pools, sentences = translated(
        masterType="n1-standard-4", workerType="cloud_tpu", workerCount=1, workerConfig=tpu
    )
    assert pools == ["1 x ct5lp-hightpu-8t (2x4)"]
    assert "the TPU and its n1-standard-4 are 1 x ct5lp-hightpu-8t" in sentences


def test_a_setting_that_belongs_elsewhere_today_is_reported():
    _, sentences = translated(masterType="standard", region="us-central1", runtimeVersion="2.11")
    assert "region of train.config is not used; cloud.yaml's location says it now" in sentences


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({}, "has no masterType"),
        ({"scaleTier": "PREMIUM_1"}, "set train.tier to PREMIUM_1"),
        ({"masterType": "standart"}, "unknown masterType 'standart'; did you mean 'standard'"),
        ({"masterType": "standard", "workerCount": 2}, "workerCount 2, but needs a workerType"),
        (
            {
                "masterType": "standard",
                "workerType": "cloud_tpu",
                "workerConfig": {"acceleratorConfig": {"type": "TPU_V3", "count": 32}},
            },
            "32 TPU cores; only one with 8 is translated",
        ),
    ],
)
def test_a_file_that_cannot_be_translated_gives_the_reason(keys, sentence):
    with pytest.raises(TierError, match=sentence):
        translate(read(**keys), DAY)


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(ValidationError, match="unknown key 'masterTyp'; did you mean 'masterType'"):
        read(masterTyp="standard")


def test_an_old_config_travels_in_the_spec_as_it_was_written():
    old = read(masterType="standard", region="us-central1", workerCount=0)
    written = old.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written["trainingInput"]["region"] == "us-central1"
    assert OldConfig.model_validate(written) == old


def test_pools_of_today_stay():
    assert translated(masterType="n2-standard-8")[0] == [str(Pool(machine_type="n2-standard-8"))]
