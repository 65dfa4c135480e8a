"""The recipe for llm-compressor, read as that program reads it: the plan's sparsities for the model's own blocks."""

from __future__ import annotations

import pytest
import tiny_models
import yaml
from torch import nn

from actsim.errors import ModelError
from actsim.studies.exports import check_exportable, llm_compressor_recipe


def plan_of(sparsities: list[float], n_of_m: str | None = None) -> dict:
    return {"blocks": [{"sparsity": own} for own in sparsities], "n_of_m": n_of_m}


def modifier_of(text: str) -> dict:
    """The one modifier of the one group of the one stage; names end as llm-compressor looks for them."""
    ((stage, groups),) = yaml.safe_load(text).items()
    ((group, modifiers),) = groups.items()
    assert stage.endswith("_stage")
    assert group.endswith("_modifiers")
    return modifiers["WandaPruningModifier"]


def sparsities_by_map(model: nn.Module, modifier: dict) -> dict[str, float]:
    """What llm-compressor prunes and how far: targets in the order of the modules, each with its linear layers."""
    found = [(name, module) for name, module in model.named_modules() if name in modifier["targets"]]
    assert len(found) == len(modifier["targets"]) == len(modifier["sparsity"])
    return {
        f"{name}.{inner}": sparsity
        for (name, block), sparsity in zip(found, modifier["sparsity"], strict=True)
        for inner, module in block.named_modules()
        if isinstance(module, nn.Linear)
    }


@pytest.mark.parametrize("family", ["llama", "opt", "gpt_neox", "falcon", "phi3"])
def test_every_map_gets_the_sparsity_of_its_block(family):
    loaded = tiny_models.loaded(family)
    sparsities = [1e-05, 0.1 + 0.2, 1.0]
    modifier = modifier_of(llm_compressor_recipe(loaded, plan_of(sparsities)))
    assert sparsities_by_map(loaded.model, modifier) == {m.name: sparsities[m.layer - 1] for m in loaded.maps}
    assert modifier["mask_structure"] == "0:0"


def test_eleven_blocks_are_not_mistaken_for_one_another():
    loaded = tiny_models.wrap_model(
        tiny_models.build("llama", num_hidden_layers=11), tiny_models.tokenizer(), name="eleven"
    )
    sparsities = [block / 20 for block in range(11)]
    modifier = modifier_of(llm_compressor_recipe(loaded, plan_of(sparsities)))
    assert sparsities_by_map(loaded.model, modifier) == {m.name: sparsities[m.layer - 1] for m in loaded.maps}


@pytest.mark.parametrize(("kept", "gone"), [("2:4", "2:4"), ("1:4", "3:4"), ("5:8", "3:8")])
def test_of_n_to_m_it_takes_what_goes(kept, gone):
    modifier = modifier_of(llm_compressor_recipe(tiny_models.loaded("llama"), plan_of([0.5] * 3, kept)))
    assert modifier["mask_structure"] == gone


@pytest.mark.parametrize(("family", "says"), [("gpt2", "is a Conv1D"), ("bert", "was loaded as encoder")])
def test_what_it_cannot_prune_is_refused(family, says):
    with pytest.raises(ModelError, match=says):
        check_exportable(tiny_models.loaded(family))
    check_exportable(tiny_models.loaded("llama"))
