"""Pruned weights are those of a plain computation in float64; counts are exact; the dense profile is the model's."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import tiny_samples
import torch
from transformers.pytorch_utils import Conv1D

from actsim.config import NOfM
from actsim.core import wanda
from actsim.errors import ModelError, UsageError
from actsim.pipelines import pruning
from actsim.pipelines.pruning import Cut, block_sizes, mean_patterns, prune_by_inputs, prune_by_scores, wanda_profile

TOKENS = torch.randint(5, len(tiny_models.VOCABULARY), (6, 10), generator=torch.Generator().manual_seed(3)).tolist()
SAMPLES = tiny_samples.samples_of("tales", [tuple(own) for own in TOKENS])
BATCH_TOKENS = 20


def stored(module) -> np.ndarray:
    """The weight as [out, in], float64."""
    weight = module.weight.detach().double().numpy()
    return weight.T if isinstance(module, Conv1D) else weight


def plainly_pruned(model, blocks, sparsities) -> dict[str, np.ndarray]:
    """Wanda without any of our code: before each block the whole model runs on one sequence after the other, and what
    enters the block's linear layers is kept in full."""
    kept: dict[str, np.ndarray] = {}
    names = {module: name for name, module in model.named_modules()}
    for block, sparsity in zip(blocks, sparsities, strict=True):
        linears = [module for module in block.modules() if isinstance(module, torch.nn.Linear | Conv1D)]
        inputs: dict[torch.nn.Module, list[np.ndarray]] = {linear: [] for linear in linears}
        handles = [
            linear.register_forward_hook(
                lambda module, args, _out, inputs=inputs: inputs[module].append(
                    args[0].double().reshape(-1, args[0].shape[-1]).numpy()
                )
            )
            for linear in linears
        ]
        with torch.no_grad():
            for own in TOKENS:
                model(input_ids=torch.tensor([own]))
        for handle in handles:
            handle.remove()
        for linear in linears:
            weight = stored(linear)
            score = np.abs(weight) * np.linalg.norm(np.concatenate(inputs[linear]), axis=0)
            keep = np.ones(weight.shape, dtype=bool)
            for row in range(len(weight)):
                keep[row, np.argsort(score[row], kind="stable")[: int(sparsity * weight.shape[1])]] = False
            kept[names[linear]] = keep
            mask = torch.from_numpy(keep.T.copy() if isinstance(linear, Conv1D) else keep)
            with torch.no_grad():
                linear.weight *= mask
    return kept


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "bert", "phi3"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_masks_are_those_of_a_plain_computation(family, dtype):
    sparsities = [0.3, 0.5, 0.62]
    loaded = tiny_models.loaded(family, dtype=dtype)
    plain = tiny_models.loaded(family, dtype=torch.float64)
    want = plainly_pruned(plain.model, plain.blocks, sparsities)
    told: list[tuple[int, int]] = []
    cut = Cut(np.array(sparsities), None)
    blocks = prune_by_inputs(loaded, SAMPLES, cut, BATCH_TOKENS, lambda *own: told.append(own))
    for linear in loaded.maps:
        assert (linear.weight != 0).numpy().tolist() == want[linear.name].tolist(), linear.name
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    zeros = {layer: sum((~want[m.name]).sum() for m in loaded.maps if m.layer == layer) for layer in (1, 2, 3)}
    assert {block.layer: block.zeros for block in blocks} == zeros
    assert [block.parameters for block in blocks] == block_sizes(loaded).tolist()


def test_the_size_of_the_batches_does_not_matter():
    weights = []
    for batch_tokens in (1, 20, 1000):
        loaded = tiny_models.loaded("gpt2", dtype=torch.float64)
        prune_by_inputs(loaded, SAMPLES, Cut(np.full(3, 0.5), None), batch_tokens)
        weights.append(torch.cat([linear.weight.flatten() for linear in loaded.maps]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("family", ["albert", "deberta_v2"])
def test_what_is_used_several_times_is_pruned_once(family):
    loaded = tiny_models.loaded(family)
    blocks = prune_by_inputs(loaded, SAMPLES, Cut(np.full(loaded.n_layers, 0.5), None), BATCH_TOKENS)
    assert all(block.zeros == block.parameters // 2 for block in blocks)


@pytest.mark.parametrize("text", ["2:4", "4:8", "1:2"])
def test_n_of_m_is_exact_in_every_group(text):
    loaded, form = tiny_models.loaded("gpt2"), NOfM.read(text)
    prune_by_inputs(loaded, SAMPLES, Cut(np.full(3, form.sparsity), form), BATCH_TOKENS)
    for linear in loaded.maps:
        groups = (linear.weight != 0).reshape(-1, form.group)
        assert groups.sum(dim=1).tolist() == [form.kept] * len(groups)


def test_nothing_is_pruned_where_groups_do_not_divide():
    loaded, form = tiny_models.loaded("llama"), NOfM.read("3:7")
    with pytest.raises(UsageError, match="groups of 7"):
        prune_by_inputs(loaded, SAMPLES, Cut(np.full(3, form.sparsity), form), BATCH_TOKENS)
    assert [block.zeros for block in pruning.pruned_blocks(loaded)] == [0, 0, 0]


@pytest.mark.parametrize("text", ["4:2", "2:2", "0:4", "2", "a:b", "-1:4", ""])
def test_what_is_no_n_of_m_is_refused(text):
    with pytest.raises(UsageError, match="write N:M"):
        NOfM.read(text)


def test_magnitude_goes_by_the_weights_alone():
    loaded = tiny_models.loaded("opt")
    before = {linear.name: linear.weight.clone().abs() for linear in loaded.maps}
    prune_by_scores(loaded, wanda.magnitudes, Cut(np.full(3, 0.25), None))
    for linear in loaded.maps:
        own = before[linear.name]
        cut = own.sort(dim=1).values[:, own.shape[1] // 4]
        assert torch.equal(linear.weight != 0, own >= cut.unsqueeze(1))


def test_activation_goes_by_the_mean_pattern():
    """On the sum over sentences of |W ⊙ ∂D/∂W|, from autograd's own weight gradients."""
    loaded, plain = tiny_models.loaded("llama"), tiny_models.build("llama")
    scoring = loaded.default_scoring()
    weights = {name: parameter for name, parameter in plain.named_parameters() if parameter.ndim == 2}
    want = {name: torch.zeros_like(parameter) for name, parameter in weights.items()}
    for own in TOKENS:
        plain.zero_grad()
        plain(input_ids=torch.tensor([own])).logits[0, -1].max().backward()
        for name, parameter in weights.items():
            want[name] += (parameter * parameter.grad).abs().detach()
    sums = mean_patterns(loaded, SAMPLES, scoring)
    for linear in loaded.maps:
        torch.testing.assert_close(sums.sums(linear), want[f"{linear.name}.weight"], rtol=1e-3, atol=1e-5)
    blocks = prune_by_scores(loaded, sums.sums, Cut(np.full(3, 0.5), None))
    assert [block.zeros for block in blocks] == [block.parameters // 2 for block in blocks]


def test_too_little_memory_for_mean_patterns_is_an_error_beforehand(monkeypatch):
    monkeypatch.setattr(pruning, "free_memory", lambda _device: 1000)
    loaded = tiny_models.loaded("llama")
    with pytest.raises(ModelError, match="--score wanda"):
        mean_patterns(loaded, SAMPLES, loaded.default_scoring())


def test_the_profile_is_of_the_dense_model():
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    found = wanda_profile(loaded, SAMPLES, wanda.median_score, BATCH_TOKENS)
    inputs: dict[str, list[torch.Tensor]] = {linear.name: [] for linear in loaded.maps}
    for linear in loaded.maps:
        linear.module.register_forward_hook(
            lambda _m, args, _out, own=inputs[linear.name]: own.append(args[0].flatten(0, -2))
        )
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor(TOKENS))
    for layer in (1, 2, 3):
        own = [linear for linear in loaded.maps if linear.layer == layer]
        scores = [linear.weight.abs() * torch.cat(inputs[linear.name]).norm(dim=0) for linear in own]
        want = np.median(torch.cat([score.flatten() for score in scores]).numpy())
        assert found[layer - 1] == pytest.approx(want, rel=1e-9)
