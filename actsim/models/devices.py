"""Devices and floating point types by the names that a user gives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from actsim.core.precision import widest_float
from actsim.errors import ModelError, UsageError
from actsim.models.settings import check_device, check_dtype

_MEMORY_FILE = Path("/proc/meminfo")


def resolve_device(name: str) -> torch.device:
    """``auto`` (CUDA, else MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: a name that stands for no device, or a device that this machine does not have.
    """
    check_device(name)
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "mps") if _count(kind)), "cpu"))
    device = torch.device(name)
    count = _count(device.type)
    if device.type == "mps" and not count:
        why = (
            "the system has no usable Metal device" if torch.backends.mps.is_built() else "this torch is built without"
        )
        raise UsageError(f"--device mps: {why} (macOS on Apple silicon is needed); use auto or cpu.")
    if (device.index or 0) >= count:
        raise UsageError(f"--device {name}: this machine has {count} such device(s); use auto or cpu.")
    return device


def resolve_dtype(name: str | None, device: torch.device) -> torch.dtype | None:
    """The type of that name; without one float32 on the CPU, and None (the checkpoint's own) on an accelerator.

    Raises:
        UsageError: an unknown name.
    """
    check_dtype(name)
    if name is None:
        return torch.float32 if device.type == "cpu" else None
    if name == "float64" and widest_float(device) != torch.float64:
        raise UsageError(f"--dtype float64 does not exist on {device.type}; use --device cpu.")
    return getattr(torch, name)


def move(model: nn.Module, device: torch.device) -> None:
    """Move a model to ``device``.

    Raises:
        ModelError: a float64 model, and the device has no float64.
    """
    wide = next((name for name, parameter in model.named_parameters() if parameter.dtype == torch.float64), None)
    if wide is not None and widest_float(device) != torch.float64:
        raise ModelError(
            f"{wide} is float64, which {device.type} does not have; pass --dtype float32, or --device cpu."
        )
    nn.Module.to(model, device)


@contextmanager
def lent(module: nn.Module, device: str) -> Iterator[None]:
    """While open, a module of the CPU lies on ``device``; with the empty name it stays where it is.

    Its parameters are replaced, not copied: there is one copy at any time.
    """
    if not device:
        yield
        return
    nn.Module.to(module, torch.device(device))
    try:
        yield
    finally:
        nn.Module.to(module, torch.device("cpu"))


def dtype_name(dtype: torch.dtype) -> str:
    """``torch.float32`` -> ``float32``."""
    return str(dtype).removeprefix("torch.")


def _count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return 1


def free_memory(device: str) -> int:
    """Bytes that are free on a device now; on a CPU what Linux calls available, elsewhere half of all there is."""
    place = torch.device(device)
    if place.type == "cuda":
        return torch.cuda.mem_get_info(place)[0]
    if place.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if _MEMORY_FILE.is_file():
        found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMORY_FILE.read_text(), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


OUT_OF_MEMORY = ("MPS backend out of memory", "DefaultCPUAllocator")
"""How torch words it where it has no error type of its own for that: on mps and on a CPU."""


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device's memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
