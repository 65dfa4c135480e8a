"""Two passes at a time: how batches are shared out, order, errors, stopping, and what is left behind."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from actsim.core import side_by_side as module
from actsim.core.batch import PairBatch, pad, plan_batches
from actsim.core.linears import LinearMap
from actsim.core.objectives import ENCODER_OBJECTIVES
from actsim.core.passes import consume, flat_memory
from actsim.core.side_by_side import plan_passes, side_by_side

sentences = st.integers(1, 9).flatmap(lambda length: st.tuples(*[st.integers(5, 7)] * length))
pair_lists = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=25)


@dataclass(frozen=True)
class Small:
    """A model of two linear maps."""

    model: nn.Module
    maps: tuple[LinearMap, ...]
    blocks: tuple[nn.Module, ...] = ()
    batchable: bool = True
    pooling: None = None


def small(device: str = "cpu") -> Small:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3, device=device))
    maps = (LinearMap("one", model[0], 1, "q"), LinearMap("two", model[1], 2, "o"))
    return Small(model, maps)


@pytest.fixture
def threads() -> Iterator[None]:
    """Two threads, whatever the tests run with."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def tokens_of(pairs) -> int:
    return sum(map(len, {sentence for pair in pairs for sentence in pair}))


def pairs_of(batch: PairBatch) -> list:
    return [(batch.sentences[a], batch.sentences[b]) for a, b in batch.sides]


@given(pair_lists)
def test_halves_are_the_pairs_in_their_order_cut_where_the_larger_is_smallest(pairs):
    (batch,) = plan_batches(pairs, 10_000)
    own, halves = pairs_of(batch), batch.halves()
    assert tuple(pair for half in halves for pair in half.pairs) == batch.pairs
    assert [pair for half in halves for pair in pairs_of(half)] == own
    assert all(list(half.sentences) == sorted(dict.fromkeys(half.sentences), key=len) for half in halves)
    if len(pairs) > 1:
        best = min(max(tokens_of(own[:cut]), tokens_of(own[cut:])) for cut in range(1, len(own)))
        assert len(halves) == 2 and max(half.tokens for half in halves) == best


def batches(*lengths: tuple[int, int], budget: int = 100) -> list[PairBatch]:
    pairs = [((5,) * a + (row,), (6,) * b + (row,)) for row, (a, b) in enumerate(lengths, start=10)]
    return plan_batches(pairs, budget)


def test_whole_batches_go_two_at_a_time_and_the_last_of_an_odd_number_in_halves(threads):
    three = batches(*[(19, 19)] * 6, budget=80)
    plan = plan_passes(three, 80, small())
    assert plan.at_a_time == 2 and len(three) == 3
    assert plan.passes == ((three[0],), (three[1],), three[2].halves())
    assert plan_passes(three[:2], 80, small()).passes == ((three[0],), (three[1],))
    assert plan_passes([], 80, small()) == module.Plan(1, ())


def test_where_whole_ones_would_hold_too_much_all_are_halved(threads, monkeypatch):
    own = batches(*[(19, 19)] * 6, budget=80)
    held = 2 * 80 * (5 + 5) * 4
    monkeypatch.setattr(module, "HELD_BYTES", held)
    assert plan_passes(own[:2], 80, small()).passes == ((own[0],), (own[1],))
    monkeypatch.setattr(module, "HELD_BYTES", held - 1)
    assert plan_passes(own, 80, small()) == module.Plan(2, tuple(batch.halves() for batch in own))
    (short,) = batches((4, 4), budget=80)
    assert plan_passes([*own, short], 80, small()).passes[-1] == (short,)


def test_one_goes_at_a_time_where_a_pair_is_too_large_to_share_the_budget(threads, monkeypatch):
    monkeypatch.setattr(module, "HELD_BYTES", 0)
    own = batches((9, 9), (39, 39), budget=100)
    assert plan_passes(own, 100, small()) == module.Plan(1, tuple((batch,) for batch in own))


@pytest.mark.parametrize("number", [1, 3])
def test_one_goes_at_a_time_where_threads_cannot_be_shared_out(threads, number):
    torch.set_num_threads(number)
    own = batches((9, 9), (9, 9))
    assert plan_passes(own, 100, small()) == module.Plan(1, ((own[0],),))


def test_one_goes_at_a_time_on_another_device(threads):
    assert plan_passes(batches((9, 9), (9, 9)), 100, small("meta")).at_a_time == 1


def norms(target, item: int) -> torch.Tensor:
    """Σ over the maps of the squares of X and G of a sentence of ``item`` tokens."""
    sums: list[float] = []

    def take(trace) -> None:
        sums.extend(float(part.square().sum()) for own in trace.segments for part in (own.inputs, own.grads))

    batch = pad([tuple(range(5, 5 + item))], ["a"], pad_token=0)
    consume(target, batch, ENCODER_OBJECTIVES.get("embedding-norm"), lambda: take)
    return torch.tensor(sums)


def test_results_come_in_order_and_are_those_of_the_model_itself(threads):
    loaded, lengths = tiny_models.loaded("bert"), [9, 2, 7, 3, 8, 2, 6, 5, 4, 9, 3]
    hooks = [len(linear.module._forward_hooks) for linear in loaded.maps]
    torch.set_num_threads(1)
    want = [norms(loaded, length) for length in lengths]
    torch.set_num_threads(2)
    got = list(side_by_side(norms, lengths, loaded, 2))
    assert all(map(torch.equal, got, want))
    assert torch.get_num_threads() == 2
    assert [len(linear.module._forward_hooks) for linear in loaded.maps] == hooks


def test_two_are_computed_at_once_on_modules_of_their_own_with_the_weights_of_all(threads):
    loaded, together = tiny_models.loaded("bert"), threading.Barrier(2, timeout=60)
    seen: list[object] = []

    def work(target, _item: int) -> int:
        together.wait()
        seen.append(target)
        assert target.maps[0].parameter is loaded.maps[0].parameter
        return torch.get_num_threads()

    assert list(side_by_side(work, range(4), loaded, 2)) == [1] * 4
    modules = {id(target.maps[0].module) for target in seen}
    assert len(modules) == 2 and id(loaded.maps[0].module) not in modules
    assert all(target.maps[0].module in list(target.model.modules()) for target in seen)
    assert all(target.blocks[0] in list(target.model.modules()) for target in seen)


def test_the_first_item_that_fails_is_the_one_that_is_reported(threads):
    loaded = tiny_models.loaded("bert")

    def work(_target, item: int) -> int:
        if item == 2:
            time.sleep(0.2)
        if item >= 2:
            raise ValueError(f"item {item}")
        return item

    results = side_by_side(work, range(8), loaded, 2)
    got = [next(results), next(results)]
    with pytest.raises(ValueError, match="item 2"):
        next(results)
    assert got == [0, 1] and torch.get_num_threads() == 2


def test_passes_under_way_end_at_their_next_map_when_nobody_waits_any_more(threads):
    loaded, ended = tiny_models.loaded("bert"), threading.Semaphore(0)

    def work(target, item: int) -> int:
        if item == 0:
            return item
        try:
            while True:
                norms(target, 5)
        finally:
            ended.release()

    with closing(side_by_side(work, range(6), loaded, 2)) as results:
        assert next(results) == 0
    assert ended.acquire(timeout=0) and threading.active_count() < 50
    assert not [own.name for own in threading.enumerate() if own.name.startswith("actsim-pass")]
    assert torch.get_num_threads() == 2


def test_a_single_item_needs_no_copy(threads, monkeypatch):
    monkeypatch.setattr(module, "_copy", None)
    loaded = tiny_models.loaded("bert")
    assert list(side_by_side(lambda target, item: target is loaded, [1], loaded, 2)) == [True]


def test_a_single_item_has_the_threads_it_would_have_among_others(threads):
    loaded = tiny_models.loaded("bert")
    for items in ([1], [1, 2]):
        used = list(side_by_side(lambda target, item: torch.get_num_threads(), items, loaded, 2))
        assert used == [1] * len(items) and torch.get_num_threads() == 2


class Uncopied(nn.Module):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_model_that_cannot_be_copied_goes_one_at_a_time_and_that_is_said(threads, caplog):
    loaded = tiny_models.loaded("bert")
    odd = replace(loaded, blocks=(*loaded.blocks, Uncopied()))
    with caplog.at_level("INFO", logger="actsim"):
        assert plan_passes(batches((9, 9), (9, 9)), 100, odd).at_a_time == 1
    assert "one pass at a time: the model's modules cannot be copied" in caplog.text


def test_a_module_whose_forward_was_replaced_goes_one_at_a_time_and_that_is_said(threads, caplog):
    loaded = tiny_models.loaded("bert")
    own = loaded.maps[0].module
    forward = own.forward
    own.forward = lambda inputs: forward(inputs)
    with caplog.at_level("INFO", logger="actsim"):
        assert plan_passes(batches((9, 9), (9, 9)), 100, loaded).at_a_time == 1
    assert f"the forward of {loaded.maps[0].name!r} was replaced" in caplog.text


HEAPS = """
import ctypes, sys, threading
from actsim.core.side_by_side import share_heap
print(share_heap() if sys.argv[1] == "shared" else None)
ready = threading.Barrier(3)
def allocate():
    kept = [bytearray(100_000) for _ in range(9)]
    ready.wait()
    ready.wait()
threads = [threading.Thread(target=allocate) for _ in range(2)]
[thread.start() for thread in threads]
ready.wait()
ctypes.CDLL(None).malloc_stats()
ready.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives threads heaps of their own")
def test_threads_share_a_heap_where_a_program_asks_for_it():
    def heaps(how: str, **environment: str) -> tuple[str, int]:
        own = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"} | environment
        command = [sys.executable, "-c", HEAPS, how]
        run = subprocess.run(command, capture_output=True, text=True, env=own, check=True)
        return run.stdout.strip(), run.stderr.count("Arena ")

    alone, shared = heaps("own"), heaps("shared")
    assert (alone[0], shared[0]) == ("None", "True")
    assert shared[1] < alone[1]
    assert heaps("shared", MALLOC_ARENA_MAX="4")[0] == "False"


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this build of torch multiplies with oneDNN")
def test_onednn_is_off_until_the_last_of_two_passes_is_through():
    onednn, weight = torch.backends.mkldnn, torch.zeros(1)
    assert onednn.enabled
    first, second = flat_memory(weight), flat_memory(weight)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not onednn.enabled
    second.__exit__(None, None, None)
    assert onednn.enabled
