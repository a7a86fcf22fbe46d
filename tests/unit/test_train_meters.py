"""Operations counted by hand are those that torch counts; speeds are tokens by seconds."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minimind_wiki.model import Transformer, linear, preset
from minimind_wiki.train.device import choose, hardware
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.meters import (
    PEAKS,
    Meter,
    Peak,
    flops_per_token,
    known_peak,
    measured_peak,
    peak_memory,
    peak_of,
)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("tiny", {}),
        ("tiny", {"tie_word_embeddings": False, "qk_norm": True}),
        ("gpt2-124m", {"num_hidden_layers": 2, "hidden_size": 96, "vocab_size": 999}),
    ],
)
@pytest.mark.parametrize("chunk", [0, 64])
def test_a_token_costs_what_torch_counts(name, fields, chunk, monkeypatch):
    monkeypatch.setattr(linear, "AVAILABLE", False)  # torch knows no count for oneDNN's operator
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    model = Transformer(preset(name, **(ids | fields)), seed=0)
    ids_BT = torch.zeros(1, 128, dtype=torch.int64)
    # nor for the CPU's attention kernel, but it counts plain products
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        LossModel(model, chunk)(ids_BT, ids_BT).backward()
    counted = counter.get_total_flops() / ids_BT.numel()
    vectors = sum(6 * p.numel() for p in model.parameters() if p.dim() == 1)
    assert flops_per_token(model, 128) - vectors == pytest.approx(counted, rel=1e-6)
    assert vectors < 0.01 * counted  # which is why the formula may count them


def test_the_first_step_is_no_part_of_the_speed():
    meter = Meter(1e6, choose("cpu"), peak=Peak(1e10, "a test"))
    assert meter.line() == "" and meter.summary() == {}
    meter.add(100, 90, 50.0)  # compiles
    assert meter.speed == pytest.approx(2.0)
    meter.add(100, 80, 0.5)
    meter.add(100, 70, 0.5)
    told = meter.summary()
    assert told["tokens_per_second"] == 200.0 and told["useful_tokens_per_second"] == 150.0
    assert told["flops_per_second"] == pytest.approx(200 * 1e6)
    assert told["utilisation"] == pytest.approx(0.02)
    assert meter.seconds_per_step == pytest.approx(0.5)
    assert "200 tokens/s, 75% of them useful" in meter.line()
    assert "2.0% of the peak (a test)" in meter.line()


def test_utilisation_is_by_all_the_processes():
    alone, both = (
        Meter(1e6, choose("cpu"), processes=n, peak=Peak(1e10, "a test")) for n in (1, 2)
    )
    for meter in (alone, both):
        meter.add(100, 100, 1.0)
    assert both.summary()["utilisation"] == pytest.approx(alone.summary()["utilisation"] / 2)


def test_the_longest_name_that_fits_is_the_card():
    assert known_peak("NVIDIA H100 PCIe") < known_peak("NVIDIA H100 80GB HBM3")
    assert known_peak("NVIDIA A10") == PEAKS["A10"] * 1e12 < known_peak("NVIDIA A100-PCIE-40GB")
    assert known_peak("Tesla V100-PCIE-16GB") == 112e12
    assert known_peak("NVIDIA L4") == 121e12 != known_peak("NVIDIA L40S")
    assert known_peak("Quadro K620") == 0


def test_an_unknown_device_is_measured_and_memory_is_counted():
    place = choose("cpu")
    peak = peak_of(place)
    assert peak.source == "measured by one matrix product"
    assert measured_peak(place, 64) > 1e6
    before = peak_memory(place.device)
    held = torch.ones(40_000_000)
    grown = peak_memory(place.device)
    assert before > 50e6 and grown >= before and held.sum() == 40_000_000
    assert {"cores", "memory_bytes", "processor", "system"} <= hardware(place).keys()
