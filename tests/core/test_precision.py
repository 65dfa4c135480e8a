"""Types by device, and sums that are carried where there is no float64."""

from __future__ import annotations

import torch

from actsim.core.precision import carry, to_float64, widest_float


def test_only_mps_has_no_float64():
    assert widest_float(torch.device("mps")) is torch.float32
    assert {widest_float(torch.device(kind)) for kind in ("cpu", "cuda", "cuda:1")} == {torch.float64}


def test_values_are_widened_exactly():
    values = torch.tensor([0.1, 1e-30, 3.0])
    assert to_float64(values).dtype is torch.float64
    assert torch.equal(to_float64(values).float(), values)


def test_carried_sums_keep_what_float32_would_lose():
    steps = [2.0**24, 1.0, 1.0, 1.0]
    total, sums, alone = torch.zeros(1, dtype=torch.float64), torch.zeros(1), torch.zeros(1)
    for step in steps:
        sums += step
        alone += step
        carry(sums, total)
    assert float(total + sums) == sum(steps) != float(alone)


def test_float64_sums_stay_where_they_are():
    total, sums = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    carry(sums, total)
    assert torch.equal(total, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(sums, torch.ones(2, dtype=torch.float64))
