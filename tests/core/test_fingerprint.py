"""Compact fingerprints: laid out by layer and map, and compared layer by layer."""

from __future__ import annotations

import pytest
import torch
from toy_target import batch_of, gradients, squares, toy

from actsim.core.consumers import NeuronSums
from actsim.core.fingerprint import Fingerprint, assemble
from actsim.core.passes import run_pass
from actsim.core.scoring import Pattern


def test_a_fingerprint_is_row_sums_then_column_sums_of_each_map():
    target, batch = toy(("a", "b"), lambda m, x: m["b"](torch.tanh(m["a"](x)))), batch_of(3, 2)
    consumer = NeuronSums(Pattern())
    run_pass(target, batch, squares, consumer)
    prints = assemble(target.maps, consumer.sums, 2)
    for sentence, found in enumerate(prints):
        assert found.maps == {1: (("maps.a", 6, 6), ("maps.b", 6, 6))}
        grads = gradients(target, batch, sentence)
        parts = []
        for linear in target.maps:
            pattern = (grads[linear.name] * linear.weight).abs()
            parts += [pattern.sum(dim=1), pattern.sum(dim=0)]
        torch.testing.assert_close(found.layers[1], torch.cat(parts), rtol=1e-10, atol=0)


def test_a_map_that_the_read_out_does_not_use_has_zeros():
    target = toy(("a", "b"), lambda m, x: m["b"](x) + m["a"](x).detach())
    consumer = NeuronSums(Pattern())
    run_pass(target, batch_of(3), squares, consumer)
    (found,) = assemble(target.maps, consumer.sums, 1)
    assert not found.layers[1][:12].any()
    assert (found.layers[1][12:] > 0).all()


def test_cosine_is_per_layer_and_one_with_itself():
    first = Fingerprint({1: torch.tensor([3.0, 4.0]), 2: torch.tensor([1.0, 0.0])}, {})
    second = Fingerprint({1: torch.tensor([4.0, 3.0]), 2: torch.tensor([0.0, 1.0])}, {})
    assert first.cosine(second) == {1: pytest.approx(0.96), 2: 0.0}
    assert first.cosine(first) == {1: pytest.approx(1.0), 2: pytest.approx(1.0)}
