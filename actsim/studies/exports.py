"""A plan of sparsities as the recipe of another program, which then prunes the dense model by itself.

llm-compressor: one ``WandaPruningModifier`` whose ``targets`` are the blocks by name and whose ``sparsity`` is a list,
one for every target in the order of the model's modules (vllm-project/llm-compressor,
``modifiers/pruning/sparsegpt/sgpt_base.py`` and ``modifiers/pruning/wanda``). It scores the linear maps of a block as
Wanda does, ranks within rows, and of ``mask_structure`` N:M the N are those that go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from actsim.config import NOfM
from actsim.errors import ModelError
from actsim.models.layers import find_blocks

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

EXPORT_NAME = "recipe.yaml"
UNSTRUCTURED = "0:0"


def check_exportable(loaded: LoadedModel) -> None:
    """Raise ModelError where llm-compressor cannot prune this model by Wanda.

    It opens causal language models, and takes the second axis of every weight for its inputs, which in ``Conv1D`` are
    the first.
    """
    name = loaded.source["name"]
    if loaded.family != "causal":
        raise ModelError(
            f"{name}: llm-compressor prunes causal language models, this one was loaded as {loaded.family}; leave "
            "--export out."
        )
    stored = next((linear for linear in loaded.maps if linear.transposed), None)
    if stored is not None:
        raise ModelError(
            f"{name}: {stored.name} is a {type(stored.module).__name__}, which the Wanda of llm-compressor cannot "
            "score; leave --export out."
        )


def llm_compressor_recipe(loaded: LoadedModel, plan: Mapping[str, Any]) -> str:
    """The plan, as ``plan_document`` gives it, as the YAML that ``oneshot(recipe=…)`` takes."""
    structure = UNSTRUCTURED
    if plan["n_of_m"] is not None:
        form = NOfM.read(plan["n_of_m"])
        structure = f"{form.group - form.kept}:{form.group}"
    sparsities = ", ".join(np.format_float_positional(row["sparsity"], trim="0") for row in plan["blocks"])
    targets = json.dumps([name for name, _ in find_blocks(loaded.model)])
    return (
        "sparsity_stage:\n"
        "  sparsity_modifiers:\n"
        "    WandaPruningModifier:\n"
        f"      sparsity: [{sparsities}]\n"
        f"      mask_structure: {json.dumps(structure)}\n"
        f"      targets: {targets}\n"
    )
