"""Similarities of domains: two samples of each go through together, and every two of them are compared.

Group g holds samples 2g and 2g + 1 of every domain. One pass over it, a forward and a backward half per sample, gives
the Gram matrix of all of its patterns at every layer.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from actsim.baselines import tfidf_vectors
from actsim.config import SAMPLES_OF_A_DOMAIN, TOKEN_OBJECTIVES, Scoring, check_grouping
from actsim.core.batch import Batch, by_length, pad
from actsim.core.consumers import Gram, Group, groups_of
from actsim.core.hidden import HiddenStates
from actsim.core.measures import gram_cosine
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import PassResult, consume
from actsim.core.precision import to_float64
from actsim.core.scoring import Pattern, default_backend
from actsim.errors import ModelError, UsageError
from actsim.models.devices import out_of_memory
from actsim.store.similarities import COSINE, HIDDEN, KEYS, SAME_TOKEN, TFIDF, similarity_columns
from actsim.store.tables import TableLayout

if TYPE_CHECKING:
    import pyarrow as pa

    from actsim.models.loading import LoadedModel
    from actsim.models.sampling import Samples
    from actsim.store import RunStore

LOG = logging.getLogger("actsim")

Progress = Callable[[int], None]
"""Called with the number of samples just finished."""


@dataclass(frozen=True)
class Job:
    """Everything that is decided before the first pass.

    Attributes:
        loaded: the model.
        scoring: read-out, pattern, token budget.
        samples: those of every domain, an even number and equally many.
    """

    loaded: LoadedModel
    scoring: Scoring
    samples: tuple[Samples, ...]

    @property
    def groups(self) -> list[Group]:
        """The (layer, kind) that there are cosines for."""
        return groups_of(self.loaded.maps)

    @property
    def n_groups(self) -> int:
        """Groups of samples, G."""
        return len(self.samples[0]) // SAMPLES_OF_A_DOMAIN

    @property
    def group_size(self) -> int:
        """Samples of a group, N."""
        return SAMPLES_OF_A_DOMAIN * len(self.samples)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every two samples of a group, each once."""
        return list(itertools.combinations(range(self.group_size), 2))

    def members(self, group: int) -> list[tuple[Samples, int]]:
        """The samples of a group: of which domain, and the position there."""
        first = SAMPLES_OF_A_DOMAIN * group
        return [(own, first + place) for own in self.samples for place in range(SAMPLES_OF_A_DOMAIN)]

    def tokens(self, group: int) -> int:
        """Tokens of a group."""
        return sum(len(own.tokens[position]) for own, position in self.members(group))

    def layout(self, digest: str) -> TableLayout:
        """What the parts look like: one for every group."""
        return TableLayout(
            digest=digest,
            groups=tuple(self.groups),
            counts=(len(self.pairs),) * self.n_groups,
            columns=similarity_columns(self.groups, self.scoring.objective),
            keys=KEYS,
            rows=tuple(tuple((group, a, b) for a, b in self.pairs) for group in range(self.n_groups)),
        )

    @cached_property
    def tfidf(self) -> Float[np.ndarray, "groups samples samples"]:
        """Cosines of TF-IDF vectors of the words in what the model reads, cut as it is, weighted over the whole run."""
        tokens = [list(own.tokens[position]) for group in range(self.n_groups) for own, position in self.members(group)]
        vectors = tfidf_vectors(self.loaded.tokenizer.batch_decode(tokens, skip_special_tokens=True))
        size = self.group_size
        own = [vectors[first : first + size] for first in range(0, len(tokens), size)]
        return np.stack([(rows @ rows.T).toarray() for rows in own])


def prepare(loaded: LoadedModel, samples: Sequence[Samples], scoring: Scoring) -> Job:
    """Check what is asked for.

    Raises:
        UsageError: one domain alone, samples that do not make pairs, or an objective that the model does not have.
    """
    if len(samples) < 2:
        raise UsageError(f"a comparison needs at least two domains, got {len(samples)}; give --domain again.")
    for own in samples:
        check_grouping(len(own))
    OBJECTIVES[loaded.family].check(scoring.objective)
    return Job(loaded, scoring, tuple(samples))


def trace_bytes(job: Job, layers: Sequence[int]) -> int:
    """The most that X and G of these layers take for the largest group: they wait for its last samples."""
    tokens = max(job.tokens(group) for group in range(job.n_groups))
    widths = sum(
        sum(linear.weight.shape) * linear.parameter.element_size()
        for linear in job.loaded.maps
        if linear.layer in layers
    )
    return tokens * widths


def layers_at_a_time(job: Job, memory: int) -> list[list[int]]:
    """The layers in order, in as few runs as keep ``trace_bytes`` of each within ``memory``; single layers at last.

    The samples of a group go through once for each run.
    """
    layers = sorted({linear.layer for linear in job.loaded.maps})
    for runs in range(1, len(layers) + 1):
        found = _divided(layers, runs)
        if max(trace_bytes(job, own) for own in found) <= memory:
            return found
    return _divided(layers, len(layers))


def _divided(layers: Sequence[int], runs: int) -> list[list[int]]:
    return [own.tolist() for own in np.array_split(np.array(layers), runs)]


class Runner:
    """Sends groups of samples through the model; the backend is chosen once.

    Where the device's memory does not suffice, fewer layers are traced at a time and fewer tokens go through together
    for the rest of the run: numbers do not depend on either beyond rounding.

    Attributes:
        job: what is done.
        scorer: name of the scoring backend.
        budget: padded tokens that go through together.
        runs: the layers that are traced at a time.
    """

    def __init__(self, job: Job, memory: int) -> None:
        self.job = job
        self.scorer = default_backend(job.loaded.scoring_device, job.loaded.dtype)
        self.budget = job.scoring.batch_tokens
        self.runs = layers_at_a_time(job, memory)
        LOG.info("scoring backend: %s", self.scorer)

    def table(self, group: int) -> pa.Table:
        """The rows of a group.

        Raises:
            NumericError: a pattern says nothing, or a value is not finite; names the sample.
            ModelError: a single sample does not fit into memory.
        """
        while True:
            try:
                return self._table(group)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._take_less(error)

    def seconds(self, groups: Sequence[int]) -> float:
        """An estimate of the time that some groups take: by that of a few samples, of middle length, per token."""
        _, batch = self._batch(groups[0])
        middle = len(batch.labels) // 2
        few = batch.part(middle, min(len(batch.labels), middle + max(1, self.budget // batch.sizes[-1])))
        self._pass(few, self.runs[0], hidden=True)  # the first one also warms up
        started = time.perf_counter()
        for layers in self.runs:
            self._pass(few, layers, hidden=False)
        taken = time.perf_counter() - started
        return taken / sum(few.sizes) * sum(self.job.tokens(group) for group in groups)

    def _take_less(self, error: RuntimeError) -> None:
        job, layers = self.job, list(itertools.chain.from_iterable(self.runs))
        longest = max(len(tokens) for own in job.samples for tokens in own.tokens)
        if len(self.runs) == len(layers) and self.budget <= longest:
            raise ModelError(
                f"the memory of {job.loaded.device} does not suffice for the {job.group_size} samples of a group, one "
                "layer at a time; lower --max-tokens, compare fewer domains, or choose --dtype bfloat16."
            ) from error
        self.runs = _divided(layers, min(len(layers), 2 * len(self.runs)))
        self.budget = max(longest, self.budget // 2)
        LOG.warning(
            "out of memory on %s: going on with %d layer%s at a time and batches of %d tokens",
            job.loaded.device,
            (most := max(map(len, self.runs))),
            "s" if most > 1 else "",
            self.budget,
        )

    def _table(self, group: int) -> pa.Table:
        order, batch = self._batch(group)
        cosines: list[Tensor] = []
        for layers in self.runs:
            consumer, result = self._pass(batch, layers, hidden=not cosines)
            consumer.check(batch.labels)
            cosines.append(gram_cosine(consumer.products()))
            if result.hidden is not None:
                hidden, readout = _hidden_cosines(result.hidden), result.readout
        back = torch.tensor(order).argsort()
        a, b = torch.tensor(self.job.pairs).unbind(dim=1)
        left, right = back[a], back[b]
        values = to_float64(readout.values)
        columns = {
            **dict(zip(KEYS, (torch.full_like(a, group), a, b), strict=True)),
            COSINE: torch.cat(cosines)[:, left, right].T,
            HIDDEN: hidden[:, left, right].T,
            TFIDF: torch.from_numpy(self.job.tfidf[group])[a, b],
            "readout_a": values[left],
            "readout_b": values[right],
        }
        if self.job.scoring.objective in TOKEN_OBJECTIVES:
            assert readout.top_token is not None
            token = readout.top_token.cpu()
            columns[SAME_TOKEN] = (token[left] == token[right]).double()
        return _rows(columns)

    def _batch(self, group: int) -> tuple[tuple[int, ...], Batch]:
        """The samples of a group by length, and in which order that is."""
        members = self.job.members(group)
        tokens = [own.tokens[position] for own, position in members]
        labels = [f"{own.domain} sample {own.ids[position]}" for own, position in members]
        order, loaded = by_length(tokens), self.job.loaded
        batch = pad(
            [tokens[place] for place in order],
            [labels[place] for place in order],
            pad_token=loaded.pad_token,
            device=loaded.device,
        )
        return order, batch

    def _pass(self, batch: Batch, layers: Sequence[int], *, hidden: bool) -> tuple[Gram, PassResult]:
        job = self.job
        maps = tuple(linear for linear in job.loaded.maps if linear.layer in layers)
        pattern = Pattern(job.scoring.absolute, job.scoring.weighted)
        return consume(
            replace(job.loaded, maps=maps),
            batch,
            OBJECTIVES[job.loaded.family].get(job.scoring.objective),
            lambda: Gram(maps, len(batch.labels), pattern, self.scorer),
            hidden=hidden,
            most_tokens=self.budget,
        )


def run_groups(runner: Runner, store: RunStore, *, progress: Progress | None = None) -> None:
    """Compare the samples of the groups that the store misses, a part for each; raises as ``Runner.table``."""
    store.update_manifest(scorer=runner.scorer)
    for group in store.missing():
        store.write_part(group, runner.table(group))
        if progress is not None:
            progress(runner.job.group_size)
    store.update_manifest(layers_at_a_time=max(map(len, runner.runs)), batch_tokens_within_memory=runner.budget)


def _hidden_cosines(states: HiddenStates) -> Float[Tensor, "layers samples samples"]:
    vectors = torch.stack([to_float64(states.mean[block]) for block in sorted(states.mean)])
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return unit @ unit.mT


def _rows(columns: dict[str, Tensor]) -> pa.Table:
    """Whole numbers, doubles, and lists of doubles as a table."""
    import pyarrow as pa

    found = {}
    for name, values in columns.items():
        plain = pa.array(values.flatten().numpy())
        if values.ndim == 2:
            offsets = pa.array(range(0, values.numel() + 1, values.shape[1]), pa.int32())
            plain = pa.ListArray.from_arrays(offsets, plain)
        found[name] = plain if values.is_floating_point() else plain.cast(pa.int32())
    return pa.table(found)
