"""The Triton backend: its checks in Triton's interpreter and on a GPU, and what the compiler makes of its kernels."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_traces
import torch

from actsim.core.scoring import Needs, Pattern, backend, default_backend
from actsim.errors import MissingExtraError, UsageError

ROOT = Path(__file__).parents[2]
CHECKS = Path(__file__).with_name("triton_checks.py")
KERNELS = "actsim.core.scoring.kernels"

installed = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

SHARED_MEMORY = 227 * 1024
"""Bytes of shared memory that one program may have on an H100."""


@installed
@pytest.mark.parametrize("where", ["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_checks_pass(where: str) -> None:
    """In a process of its own, since the interpreter has to be chosen before Triton is imported."""
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if where == "interpreter":
        environment["TRITON_INTERPRET"] = "1"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECKS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The kernels, to be compiled anew."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module = importlib.import_module(KERNELS)
    assert not module.INTERPRETED, "unset TRITON_INTERPRET: these tests compile"
    return module


def compiled(kernel: Any, pointers: dict[str, str], constants: dict[str, Any], tile: Any) -> Any:
    """``kernel`` as an H100 would run it. Needs no device: Triton brings the compiler."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    constants = {**constants, **tile.kwargs, "w_in": 1}
    types = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in names}
    aligned = [name for name in names if types[name].startswith("*") or name in ("d_out", "d_in", "w_out")]
    source = ASTSource(
        kernel, types, constants, {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    )  # fmt: skip
    options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages, "enable_fp_fusion": True}
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options)


MOMENTS_POINTERS = {"spans": "*i32", "thresholds": "*fp32", "tie_limits": "*i32", "by_tile": "*fp32"}
COUNT_TYPES = {"spans": "*i32", "prefixes": "*i64", "bits_of": "*i64", "counts": "*i64", "gain": "fp32"}


def operand_types(name: str) -> dict[str, str]:
    return dict.fromkeys(("inputs", "grads", "weight"), f"*{name}")


@installed
@pytest.mark.parametrize("one_step", [True, False], ids=["one step", "long"])
@pytest.mark.parametrize("choice", [0, 1, 2])
def test_half_precision_is_multiplied_on_tensor_cores_while_rows_are_fetched(
    kernels: Any, choice: int, one_step: bool
) -> None:
    constants = {name: True for name in ("ABSOLUTE", "WEIGHTED", "PRODUCTS", "TOGETHER")} | {
        "MINIMA": not one_step,
        "SETS": not one_step,
        "ONE_STEP": one_step,
        "BLOCK_T": kernels.HALF_TOKENS,
    }
    pointers = MOMENTS_POINTERS | operand_types("bf16" if one_step else "fp16")
    made = compiled(kernels.moments, pointers, constants, kernels.HALF_TILES[choice])
    assert "wgmma.mma_async" in made.asm["ptx"]
    assert "cp.async" in made.asm["ptx"]
    assert made.metadata.shared <= SHARED_MEMORY


@installed
@pytest.mark.parametrize("choice", [0, 1])
def test_float32_is_never_multiplied_in_less(kernels: Any, choice: int) -> None:
    constants = {name: True for name in ("ABSOLUTE", "WEIGHTED", "PRODUCTS", "MINIMA", "TOGETHER", "ONE_STEP")}
    constants |= {"SETS": False, "BLOCK_T": kernels.FLOAT_TOKENS}
    pointers = MOMENTS_POINTERS | operand_types("fp32")
    made = compiled(kernels.moments, pointers, constants, kernels.FLOAT_TILES[choice])
    assert "fma.rn.f32" in made.asm["ptx"]
    assert "mma." not in made.asm["ptx"]
    assert made.metadata.shared <= SHARED_MEMORY


@installed
@pytest.mark.parametrize("by_index", [False, True], ids=["values", "indices"])
def test_digits_are_counted_with_the_same_products_as_moments(kernels: Any, by_index: bool) -> None:
    constants = {"WEIGHTED": True, "BY_INDEX": by_index, "DIGIT_BITS": kernels.DIGIT_BITS}
    constants |= {"ONE_STEP": True, "BLOCK_T": 16}
    made = compiled(kernels.count_digits, COUNT_TYPES | operand_types("fp16"), constants, kernels.HALF_TILES[0])
    assert "wgmma.mma_async" in made.asm["ptx"]
    assert "atom" in made.asm["ptx"] or "red." in made.asm["ptx"]


@installed
def test_a_trace_on_the_cpu_is_refused() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(3, 4), [2, 2], dtype=torch.float32)
    assert not importlib.import_module(KERNELS).INTERPRETED
    with pytest.raises(UsageError, match="needs a CUDA device, got cpu; choose 'tiled'"):
        backend("triton").pair_moments(trace, torch.tensor([[0, 1]]), Pattern(), Needs())


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    with pytest.raises(MissingExtraError, match=r"actsim\[gpu\]"):
        importlib.import_module(KERNELS)


@pytest.mark.parametrize(
    ("device", "found", "expected"), [("cuda", True, "triton"), ("cuda", False, "tiled"), ("mps", True, "tiled")]
)
def test_the_default_backend(monkeypatch: pytest.MonkeyPatch, device: str, found: bool, expected: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if found else None)
    assert default_backend(device) == expected
