"""A loaded model as one of lm-evaluation-harness: the same weights, batches by tokens, what was cut counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from lm_eval.models.huggingface import HFLM

from actsim.core.batch import Tokens, plan_sequences
from actsim.errors import DataError, ModelError
from actsim.models.loading import LoadedModel

Request = tuple[tuple[str, str], list[int], list[int]]
"""Context and choice as texts; the tokens of the one and of the other."""
Answer = tuple[float, bool]
"""Log-likelihood of a choice, and whether it is what the model would say by itself."""


def check_model(loaded: LoadedModel) -> None:
    """Raise ModelError for a model whose choices have no log-likelihood.

    Raises:
        ModelError: it was loaded as an encoder; or its tokenizer ends every text, or has no token to begin one with.
    """
    name = loaded.source["name"]
    if loaded.family != "causal":
        raise ModelError(
            f"{name} was loaded as {loaded.family}; tasks need the log-likelihoods of a causal language model. Give "
            "one with -m, or --family causal for a decoder that is an encoder by its files."
        )
    tokenizer = loaded.tokenizer
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: its tokenizer has neither a first nor a last token; lm-eval needs one of them.")
    if tokenizer.encode("a")[-1] == tokenizer.eos_token_id:
        raise ModelError(
            f"{name}: its tokenizer puts {tokenizer.eos_token} behind every text, and no choice can follow that. Use a "
            "tokenizer that does not."
        )


class CountingLM(HFLM):
    """The model in memory, which tells of its progress.

    Attributes:
        cut: the (context, choice) whose context lost tokens on the left, because both together are longer than the
            model takes.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int, count: Callable[[int], None] | None = None) -> None:
        """Hand the model over.

        Args:
            loaded: the model; it is not changed, and no second copy is made.
            batch_tokens: padded tokens of a batch.
            count: told of the choices just scored.

        Raises:
            ModelError: see ``check_model``.
        """
        check_model(loaded)
        super().__init__(
            pretrained=loaded.model, tokenizer=loaded.tokenizer, max_length=loaded.max_tokens, batch_size="auto"
        )
        self.cut: set[tuple[str, str]] = set()
        self._batch_tokens = batch_tokens
        self._count = count

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[Answer]:
        """The log-likelihoods of the choices, in the order of ``requests``."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = True, override_bs: int | None = None
    ) -> list[Answer]:
        answers: dict[int, Answer] = {}
        self._check_lengths(requests)
        for places in self._batches(requests):
            batch = [requests[place] for place in places]
            found = super()._loglikelihood_tokens(batch, disable_tqdm=True, override_bs=len(batch))
            answers.update(zip(places, found, strict=True))
            if self._count is not None:
                self._count(len(batch))
        return [answers[place] for place in range(len(requests))]

    def _batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Places of requests, those with one input in one batch: the harness computes that once."""
        holders: dict[Tokens, list[int]] = {}
        for place, (_, context, choice) in enumerate(requests):
            holders.setdefault(tuple([*context, *choice][:-1][-self.max_length :]), []).append(place)
        inputs = list(holders)
        plan = plan_sequences(inputs, self._batch_tokens)
        return [list(chain.from_iterable(holders[inputs[place]] for place in batch)) for batch in plan]

    def _check_lengths(self, requests: Sequence[Request]) -> None:
        """Note what is cut; DataError for a choice that has no tokens, or more than the model takes."""
        for texts, context, choice in requests:
            if not 0 < len(choice) <= self.max_length:
                raise DataError(
                    f"the choice {texts[1]!r} has {len(choice)} tokens, and the model takes 1 to {self.max_length}; "
                    "use another model or other rows."
                )
            if len(context) + len(choice) > self.max_length + 1:
                self.cut.add(texts)
