"""Controls: the same pairs through a model that has learned nothing, or through sentences without word order.

Where a control follows the human scores as well as the model does, what the model does is not due to what it has
learned, or not to what the sentences say.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from actsim.config import CONTROLS
from actsim.core.batch import Tokens
from actsim.errors import ModelError
from actsim.models.checkpoint import quiet_transformers
from actsim.models.layers import linear_maps
from actsim.models.loading import LoadedModel, parameters_sha256
from actsim.registry import unknown_name


@dataclass(frozen=True)
class Control:
    """Which control a model is, and the seed of what is drawn at random for it."""

    name: str
    seed: int


def controlled(loaded: LoadedModel, name: str, seed: int) -> LoadedModel:
    """The control of that name for a loaded model, which stays as it is.

    Args:
        loaded: the model.
        name: one of CONTROLS.
        seed: of the weights, or of the order of the tokens.

    Raises:
        UsageError: an unknown name.
        ModelError: the model cannot be built from its configuration alone.
    """
    makers: dict[str, Callable[[LoadedModel, int], LoadedModel]] = {
        "random-weights": random_weights,
        "shuffled-tokens": shuffled_tokens,
    }
    if name not in makers:
        raise unknown_name("control", name, CONTROLS)
    return makers[name](loaded, seed)


def random_weights(loaded: LoadedModel, seed: int) -> LoadedModel:
    """The same architecture with fresh weights, as its own initialisation draws them from ``seed``.

    They are drawn in float32 on the CPU, whatever the model's type and device, and the global generators are left as
    they were. Norms and biases are ones and zeros then, as before any training.

    Raises:
        ModelError: the model cannot be built from its configuration alone.
    """
    source = loaded.model
    with _seeded(seed), quiet_transformers():
        try:
            model = type(source)(copy.deepcopy(source.config))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"control random-weights: {type(source).__name__} cannot be built from its configuration ({error}); "
                "leave this control out."
            ) from error
        head = copy.deepcopy(loaded.head).cpu()
        for module in head.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    model.eval().requires_grad_(False)
    nn.Module.to(model, device=source.device, dtype=source.dtype)
    model.config.use_cache = False
    coverage = linear_maps(model)
    note = f"control: random weights drawn with seed {seed}"
    return replace(
        loaded,
        model=model,
        maps=coverage.maps,
        excluded=coverage.excluded,
        blocks=coverage.blocks,
        head=head.to(source.device).requires_grad_(False),
        source=_renamed(loaded, f"random weights, seed {seed}", parameters_sha256(model)),
        control=Control("random-weights", seed),
        notes=(*loaded.notes, note),
    )


def shuffled_tokens(loaded: LoadedModel, seed: int) -> LoadedModel:
    """The same model, for which ``actsim.models.tokenise`` puts each sentence's tokens in a random order."""
    return replace(
        loaded,
        source=_renamed(loaded, f"shuffled tokens, seed {seed}", loaded.source["sha256"]),
        control=Control("shuffled-tokens", seed),
        notes=(*loaded.notes, f"control: the tokens of each sentence are in a random order, seed {seed}"),
    )


def shuffle(
    tokens: Tokens, seed: int, fixed: Collection[int], spans: Iterable[tuple[int, int]] | None = None
) -> Tokens:
    """The tokens in a random order that depends on the seed and the tokens alone.

    Args:
        tokens: ids of one sentence.
        seed: of the order.
        fixed: ids that stay where they are: the special tokens.
        spans: the positions, first and last plus one, within which tokens change places; default all of them. Spans
            of equal length get one order.
    """
    ids = list(tokens)
    for start, stop in ((0, len(ids)),) if spans is None else spans:
        places = [place for place in range(start, stop) if tokens[place] not in fixed]
        order = np.random.default_rng((seed, *tokens)).permutation(len(places))
        for place, other in zip(places, order, strict=True):
            ids[place] = tokens[places[other]]
    return tuple(ids)


def special_tokens(tokenizer: Any) -> frozenset[int]:
    """Ids with a meaning of their own, which a shuffle leaves in place; an unknown word is a word."""
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def _renamed(loaded: LoadedModel, what: str, sha256: str) -> dict[str, Any]:
    return {**loaded.source, "name": f"{loaded.source['name']} ({what})", "sha256": sha256}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """While open, torch's CPU generator starts from ``seed``; afterwards it is as it was, also after an exception."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)
