"""The embeddings that an encoder itself gives to sentences, without a backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from actsim.config import DEFAULT_BATCH_TOKENS
from actsim.core.batch import pad, plan_sequences
from actsim.core.passes import flat_memory
from actsim.errors import NumericError
from actsim.models.tokenise import tokenise_for

if TYPE_CHECKING:
    from actsim.data.pairs import PairSet
    from actsim.models.loading import LoadedModel


@torch.no_grad()
def embeddings(
    loaded: LoadedModel, sentences: Sequence[str], *, batch_tokens: int = DEFAULT_BATCH_TOKENS
) -> Float[Tensor, "sentences width"]:
    """The model's own embedding of every sentence, float32 or wider on the CPU; equal sentences are computed once.

    Raises:
        ModelError: a causal language model, which has none.
        DataError: see ``tokenise_for``.
        NumericError: an embedding that is not finite; names the sentence.
    """
    distinct = list(dict.fromkeys(sentences))
    labels = [f"sentence {number}" for number in range(1, len(distinct) + 1)]
    tokens = tokenise_for(loaded, distinct, labels, loaded.default_scoring()).tokens
    rows: dict[int, Tensor] = {}
    for places in plan_sequences(tokens, batch_tokens if loaded.batchable else 1):
        own = [tokens[place] for place in places]
        batch = pad(own, [labels[place] for place in places], pad_token=loaded.pad_token, device=loaded.device)
        with flat_memory(loaded.maps[0].parameter):
            hidden = loaded.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        rows.update(zip(places, loaded.embed_from_hidden(hidden, batch.attention_mask).cpu(), strict=True))
    found = torch.stack([rows[place] for place in range(len(distinct))])
    if not bool(found.isfinite().all()):
        place = int((~found.isfinite().all(dim=1)).nonzero()[0])
        raise NumericError(f"{labels[place]}: its embedding is not finite in {loaded.dtype}; use --dtype float32.")
    row_of = {sentence: row for row, sentence in enumerate(distinct)}
    return found[[row_of[sentence] for sentence in sentences]]


def embedding_cosines(
    loaded: LoadedModel, pairs: PairSet, *, batch_tokens: int = DEFAULT_BATCH_TOKENS
) -> Float[Tensor, " pairs"]:
    """The cosine of the embeddings of both sentences of every pair; raises as ``embeddings``."""
    found = embeddings(loaded, [*pairs.sentences_a, *pairs.sentences_b], batch_tokens=batch_tokens)
    return torch.cosine_similarity(found[: len(pairs)], found[len(pairs) :], dim=1)
