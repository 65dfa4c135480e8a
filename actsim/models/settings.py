"""How a model may be asked for: names that are checked before torch is imported."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from actsim.config import OBJECTIVES
from actsim.errors import MissingExtraError, UsageError
from actsim.registry import unknown_name

FAMILIES = tuple(OBJECTIVES)

DTYPES = ("float32", "float16", "bfloat16", "float64")
"""Floating point types that a model can be loaded in, as torch calls them."""

DEVICE_MAPS = ("auto", "sequential")
"""Layouts by name: ``auto`` shares the layers out evenly, ``sequential`` fills one device after the other."""

_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:(0|[1-9]\d?))?")


def check_settings(
    *, family: str | None, device: str, dtype: str | None, device_map: str | Mapping[str, Any] | None
) -> None:
    """Raise where a model cannot be loaded like this, whatever the model and the machine.

    Raises:
        UsageError: an unknown family, device, type or layout, or a device beside a layout.
        MissingExtraError: a layout, and accelerate is not installed.
    """
    check_family(family)
    check_device(device)
    check_dtype(dtype)
    if device_map is None:
        return
    if isinstance(device_map, str) and device_map not in DEVICE_MAPS:
        raise unknown_name("device map", device_map, DEVICE_MAPS)
    if device != "auto":
        raise UsageError(f"--device {device} and --device-map exclude each other; give one of them.")
    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtraError("accelerate", "accelerate", "a model spread over several devices (--device-map)")


def check_family(family: str | None) -> None:
    """Raise UsageError for a family that is given and unknown."""
    if family is not None and family not in FAMILIES:
        raise unknown_name("family", family, FAMILIES)


def check_device(device: str) -> None:
    """Raise UsageError for a name that stands for no device on any machine."""
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"unknown device {device!r}; allowed: auto, cpu, cuda, cuda:N, mps.")


def check_dtype(dtype: str | None) -> None:
    """Raise UsageError for a floating point type that is given and unknown."""
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; allowed: {', '.join(DTYPES)}.")
