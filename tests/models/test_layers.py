"""Which parameters are scored: every family's maps and kinds, and what is refused."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from actsim.errors import ModelError
from actsim.models.layers import find_blocks, kind_of, linear_maps

GATED = ["q", "k", "v", "o", "gate", "up", "down"]
PLAIN = ["q", "k", "v", "o", "up", "down"]
KINDS = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"), GATED),
    "phi3": ["o", "qkv", "gate_up", "down"],
    "gpt2": ["qkv", "o", "up", "down"],
    "gpt_neo": ["k", "v", "q", "o", "up", "down"],
    "gpt_neox": ["qkv", "o", "up", "down"],
    "falcon": ["qkv", "o", "up", "down"],
    "opt": ["k", "v", "q", "o", "up", "down"],
    **dict.fromkeys(
        ("bert", "roberta", "xlm_roberta", "distilbert", "albert", "electra", "mpnet", "deberta_v2"), PLAIN
    ),
    "deberta": ["qkv", "pos_proj", "pos_q_proj", "o", "up", "down"],
    "modernbert": ["qkv", "o", "Wi", "down"],
}
SUPPORTED = [*tiny_models.CAUSAL, *tiny_models.ENCODERS]


class TinyBlocks(nn.Module):
    """Two blocks of whatever ``make`` builds."""

    def __init__(self, make) -> None:
        super().__init__()
        self.layers = nn.ModuleList([make(), make()])


def test_every_supported_family_has_its_kinds_written_down():
    assert set(KINDS) == set(SUPPORTED)


@pytest.mark.parametrize("name", SUPPORTED)
def test_each_layer_has_the_kinds_of_its_family(name):
    coverage = linear_maps(tiny_models.build(name))
    layers = len(coverage.blocks)
    found = {layer: [m.kind for m in coverage.maps if m.layer == layer] for layer in range(1, layers + 1)}
    assert found == dict.fromkeys(range(1, layers + 1), KINDS[name])


@pytest.mark.parametrize("name", SUPPORTED)
def test_captured_and_excluded_are_all_matrices_of_the_blocks(name):
    coverage = linear_maps(tiny_models.build(name))
    matrices = {id(p): p for block in coverage.blocks for p in block.parameters() if p.ndim >= 2}
    captured = {id(linear.parameter) for linear in coverage.maps}
    assert captured <= set(matrices)
    assert len(captured) == len(coverage.maps)
    assert len(captured) + len(coverage.excluded) == len(matrices)


@pytest.mark.parametrize("name", SUPPORTED)
def test_names_lead_back_to_the_modules(name):
    model = tiny_models.build(name)
    for linear in linear_maps(model).maps:
        assert model.get_submodule(linear.name) is linear.module


@pytest.mark.parametrize("name", SUPPORTED)
def test_weight_maps_inputs_to_outputs_as_the_module_does(name):
    """y = x Wᵀ + b also where the module stores W transposed (Conv1D)."""
    generator = torch.Generator().manual_seed(0)
    for linear in linear_maps(tiny_models.build(name).double()).maps:
        inputs = torch.randn(4, linear.weight.shape[1], generator=generator, dtype=torch.float64)
        outputs = inputs @ linear.weight.T
        if linear.module.bias is not None:
            outputs = outputs + linear.module.bias
        torch.testing.assert_close(outputs, linear.module(inputs), rtol=1e-12, atol=1e-12)


def test_gpt2_is_made_of_transposed_maps():
    coverage = linear_maps(tiny_models.build("gpt2"))
    assert all(linear.transposed and isinstance(linear.module, Conv1D) for linear in coverage.maps)


def test_albert_is_one_layer_however_often_it_runs():
    model = tiny_models.build("albert", num_hidden_layers=6)
    assert [name for name, _ in find_blocks(model)] == ["encoder.albert_layer_groups.0"]
    assert len(find_blocks(tiny_models.build("albert", num_hidden_layers=6, num_hidden_groups=2))) == 2


def test_a_block_listed_twice_is_one_layer():
    model = TinyBlocks(lambda: nn.Linear(3, 3))
    model.layers.append(model.layers[0])
    assert [name for name, _ in find_blocks(model)] == ["layers.0", "layers.1"]


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_and_head_are_outside_tied_or_not(tied):
    model = tiny_models.build("llama", tie_word_embeddings=tied)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (embedding is head) == tied
    coverage = linear_maps(model)
    assert not {id(embedding), id(head)} & {id(linear.parameter) for linear in coverage.maps}
    assert coverage.excluded == ()


def test_a_task_head_changes_nothing():
    plain = linear_maps(tiny_models.build("bert"))
    with_head = linear_maps(tiny_models.build("bert", architecture="BertForSequenceClassification"))
    assert [(m.layer, m.kind) for m in plain.maps] == [(m.layer, m.kind) for m in with_head.maps]


def test_embeddings_and_norms_inside_blocks_are_declared_exclusions():
    def make() -> nn.Module:
        return nn.ModuleDict({"proj": nn.Linear(3, 3), "bias": nn.Embedding(4, 2), "norm": nn.LayerNorm((2, 3))})

    excluded = linear_maps(TinyBlocks(make)).excluded
    assert [(e.name, e.shape, e.reason) for e in excluded[:2]] == [
        ("layers.0.bias.weight", (4, 2), "embedding"),
        ("layers.0.norm.weight", (2, 3), "norm"),
    ]
    assert "layers.0.norm.bias" in {e.name for e in excluded}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("mixtral", r"mlp\.experts\.gate_up_proj \[2, 80, 24\]"),
        ("qwen2_moe", r"mlp\.experts\.gate_up_proj"),
        ("mamba", r"mixer\.conv1d\.weight"),
    ],
)
def test_fused_experts_and_convolutions_are_refused_by_name(name, parameter):
    with pytest.raises(ModelError, match=parameter):
        linear_maps(tiny_models.build(name))


def test_functional_attention_is_refused():
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.in_proj_weight \[18, 6\]"):
        linear_maps(TinyBlocks(lambda: nn.TransformerEncoderLayer(6, 2, 8)))


def test_a_block_without_a_linear_map_is_refused():
    model = TinyBlocks(lambda: nn.Linear(3, 3))
    model.layers.append(nn.Identity())
    with pytest.raises(ModelError, match=r"layers\.2 holds no linear map"):
        linear_maps(model)


def test_a_reparametrised_weight_is_refused():
    def make() -> nn.Module:
        return nn.ModuleList([nn.Linear(3, 3), nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))])

    with pytest.raises(ModelError, match="parametrizations"):
        linear_maps(TinyBlocks(make))


@pytest.mark.parametrize(
    ("name", "lists"), [("t5", "encoder.block, decoder.block"), ("bart", "encoder.layers, decoder.layers")]
)
def test_encoder_decoders_are_refused_naming_both_sides(name, lists):
    with pytest.raises(ModelError, match=lists):
        linear_maps(tiny_models.build(name))


def test_a_model_without_blocks_is_refused():
    with pytest.raises(ModelError, match="no list of blocks"):
        linear_maps(nn.Sequential(nn.Linear(3, 3)))


def test_a_weight_shared_between_blocks_is_refused():
    model = TinyBlocks(lambda: nn.Linear(3, 3))
    model.layers[1].weight = model.layers[0].weight
    with pytest.raises(ModelError, match="shared between layers 1 and 2"):
        linear_maps(model)


def test_a_quantised_configuration_is_refused_by_the_name_of_its_method():
    model = tiny_models.build("llama")
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(ModelError, match="gptq"):
        linear_maps(model)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_weights_that_are_not_ordinary_floats_are_refused(dtype):
    model = tiny_models.build("llama")
    module = model.model.layers[1].mlp.up_proj
    module.weight = nn.Parameter(torch.zeros(module.weight.shape).to(dtype), requires_grad=False)
    with pytest.raises(ModelError, match=r"quantised.*layers\.1\.mlp\.up_proj"):
        linear_maps(model)


def test_packed_weights_in_buffers_are_refused():
    model = tiny_models.build("llama")
    packed = nn.Module()
    packed.register_buffer("qweight", torch.zeros(4, 4, dtype=torch.int32))
    model.model.layers[0].mlp.up_proj = packed
    with pytest.raises(ModelError, match=r"quantised.*layers\.0\.mlp\.up_proj"):
        linear_maps(model)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("self_attn.q_proj", "q"),
        ("attention.self.query", "q"),
        ("attention.attn.o", "o"),
        ("attention.output.dense", "o"),
        ("output.dense", "down"),
        ("crossattention.output.dense", "o"),
        ("attn.c_proj", "o"),
        ("mlp.c_proj", "down"),
        ("attn.Wo", "o"),
        ("mlp.Wo", "down"),
        ("albert_layers.0.ffn", "up"),
        ("albert_layers.0.ffn_output", "down"),
        ("ffn.1.output.dense", "down"),
        ("output.bottleneck.dense", "dense"),
        ("bottleneck.attention.dense", "dense"),
        ("mlp.shared_expert_gate", "shared_expert_gate"),
        ("feed_forward.w1", "w1"),
    ],
)
def test_kind_from_name(name, kind):
    assert kind_of(name) == kind
