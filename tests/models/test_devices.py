"""Names of devices and types."""

from __future__ import annotations

import pytest
import torch

from actsim.errors import UsageError
from actsim.models import devices
from actsim.models.devices import dtype_name, resolve_device, resolve_dtype
from actsim.models.settings import DTYPES

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(2, 0, "cuda"), (0, 1, "mps"), (2, 1, "cuda"), (0, 0, "cpu")])
def test_auto_prefers_an_accelerator(monkeypatch, cuda, mps, expected):
    counts = {"cuda": cuda, "mps": mps}
    monkeypatch.setattr("actsim.models.devices._count", lambda kind: counts.get(kind, 1))
    assert resolve_device("auto").type == expected


def test_a_device_number_beyond_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr("actsim.models.devices._count", lambda kind: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match=r"--device cuda:2: this machine has 2"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(("built", "says"), [(True, "no usable Metal device"), (False, "this torch is built without")])
def test_without_mps_the_reason_is_given(monkeypatch, built, says):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: built)
    with pytest.raises(UsageError, match=f"--device mps: .*{says}.*use auto or cpu"):
        resolve_device("mps")


def test_float64_is_refused_on_mps():
    with pytest.raises(UsageError, match="--dtype float64 does not exist on mps; use --device cpu"):
        resolve_dtype("float64", torch.device("mps"))
    assert resolve_dtype("float64", CUDA) is torch.float64


@pytest.mark.parametrize("name", ["gpu", "", "meta", "cuda:x", "cpu:3"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match=r"device"):
        resolve_device(name)


@pytest.mark.parametrize("name", DTYPES)
def test_names_of_types_go_both_ways(name):
    assert dtype_name(resolve_dtype(name, CPU)) == name


def test_defaults_are_float32_on_the_cpu_and_the_checkpoints_elsewhere():
    assert resolve_dtype(None, CPU) is torch.float32
    assert resolve_dtype(None, CUDA) is None


@pytest.mark.parametrize("name", ["fp16", "int8", "torch.float32"])
def test_unknown_types_are_refused(name):
    with pytest.raises(UsageError, match="float32, float16, bfloat16, float64"):
        resolve_dtype(name, CPU)


def test_free_memory_is_read_where_the_machine_tells_it(tmp_path, monkeypatch):
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:       100 kB\nMemAvailable:    60 kB\n")
    monkeypatch.setattr(devices, "_MEMORY_FILE", told)
    assert devices.free_memory("cpu") == 60 * 1024
    monkeypatch.setattr(devices, "_MEMORY_FILE", tmp_path / "absent")
    assert 0 < devices.free_memory("cpu") < 2**50
