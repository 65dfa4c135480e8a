"""The machine under test: what it is, what memory is free, and the peak memory of a phase."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

GIB = 2**30
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def pick_device(name: str) -> torch.device:
    """``cuda`` is the first GPU, ``auto`` that one where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", 0) if name == "cuda" else torch.device(name)


def device_problem(device: torch.device) -> str | None:
    """Why nothing can be measured on ``device``, or None."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return "no CUDA device"
    return None


def describe(device: torch.device) -> dict[str, Any]:
    """Device, threads and versions, as they go into a result."""
    facts: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "kind": device.type,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if device.type == "cuda":
        facts |= {"cuda": torch.version.cuda, "memory_bytes": torch.cuda.get_device_properties(device).total_memory}
    return facts


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def imports_kept() -> Iterator[None]:
    """While open, searches for garbage spare what is there by now, as those of the ``actsim`` command do."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def synchronise(device: torch.device) -> None:
    """Wait for the work queued on ``device``."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_bytes(device: torch.device) -> int | None:
    """Memory that a new model may take; None where it cannot be told."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024


@dataclass
class PeakMemory:
    """Peak memory of phases above what was in use when this object was made: right after the weights were loaded.

    On a GPU torch's own count of allocated bytes; on a CPU the resident set's high-water mark, which Linux resets
    when a 5 is written to /proc/self/clear_refs.

    Attributes:
        device: where the model lies.
        problem: why nothing can be measured, or None.
    """

    device: torch.device
    problem: str | None = field(default=None, init=False)
    _base: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.start_phase()
        self._base = self._peak() if self.problem is None else 0

    def start_phase(self) -> None:
        """Give back what earlier phases freed, and start anew from what is in use now."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        try:
            CLEAR_REFS.write_text("5")
        except OSError as error:
            self.problem = f"the resident set's high-water mark cannot be reset here ({error.strerror})"

    def phase_bytes(self) -> int | None:
        """Peak since ``start_phase`` above the base, or None where it is not measured."""
        return None if self.problem else max(0, self._peak() - self._base)

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return int(fields["VmHWM"].split()[0]) * 1024
