"""Score every pair of a data set: tokenise, batch, one pass per batch, measures per layer and kind, stored by parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from actsim.config import Scoring
from actsim.core.batch import PairBatch, Tokens, group_batches, pad, padded_tokens, plan_batches
from actsim.core.consumers import Group, PairMoments, groups_of
from actsim.core.measures import MEASURES
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import PassResult, consume
from actsim.core.precision import to_float64
from actsim.core.scoring import default_backend
from actsim.errors import ModelError
from actsim.models.tokenise import tokenise_for

if TYPE_CHECKING:
    import pyarrow as pa

    from actsim.data.pairs import PairSet
    from actsim.models.loading import LoadedModel
    from actsim.store import RunStore

LOG = logging.getLogger("actsim")

PAIRS_PER_PART = 64
"""A killed run loses at most the part it was at; more pairs per part mean fewer files."""

Progress = Callable[[int], None]
"""Called with the number of pairs just finished."""


@dataclass(frozen=True)
class Job:
    """Everything that is decided before the first pass: tokens, batches, parts."""

    loaded: LoadedModel
    scoring: Scoring
    labels: tuple[tuple[str, str], ...]
    tokens: tuple[tuple[Tokens, Tokens], ...]
    truncated: tuple[tuple[bool, bool], ...]
    parts: tuple[tuple[PairBatch, ...], ...]

    @property
    def groups(self) -> list[Group]:
        """The groups every pair gets a score for."""
        return groups_of(self.loaded.maps)

    @property
    def part_pairs(self) -> list[list[int]]:
        """Positions of the pairs of each part, in the order they are stored."""
        return [[position for batch in part for position in batch.pairs] for part in self.parts]


def prepare(loaded: LoadedModel, pairs: PairSet, scoring: Scoring) -> Job:
    """Tokenise the pairs and lay out batches and parts; a pure function of the frozen configuration."""
    labels = tuple(
        (f"{pairs.name} pair {name}, sentence a", f"{pairs.name} pair {name}, sentence b") for name in pairs.ids
    )
    a, b = (
        tokenise_for(loaded, texts, [label[side] for label in labels], scoring)
        for side, texts in enumerate((pairs.sentences_a, pairs.sentences_b))
    )
    tokens = tuple(zip(a.tokens, b.tokens, strict=True))
    parts = group_batches(plan_batches(tokens, scoring.batch_tokens), PAIRS_PER_PART)
    return Job(
        loaded,
        scoring,
        labels,
        tokens,
        tuple(zip(a.truncated, b.truncated, strict=True)),
        tuple(tuple(part) for part in parts),
    )


def evaluate_pairs(job: Job, store: RunStore, *, progress: Progress | None = None) -> None:
    """Score what the store does not hold yet, part by part; the backend is chosen once."""
    import pyarrow as pa

    missing = store.missing()
    if not missing:
        return
    scorer = default_backend(_scoring_device(job.loaded), job.loaded.dtype)
    LOG.info("scoring backend: %s", scorer)
    store.update_manifest(scorer=scorer)
    within = WithinMemory(job, scorer, store)
    for part in missing:
        tables = []
        for batch in job.parts[part]:
            tables += within.score(batch)
            if progress is not None:
                progress(len(batch.pairs))
        store.write_part(part, pa.concat_tables(tables))


def _scoring_device(loaded: LoadedModel) -> str:
    """The first layer's device, or, where the layers' devices are not of one kind, a name that has no backend of its
    own: patterns are then formed by what runs everywhere."""
    kinds = {torch.device(device).type for device in loaded.devices}
    return loaded.devices[0] if len(kinds) == 1 else "several"


class WithinMemory:
    """Scores batches; where the device's memory does not suffice, the token budget is halved for the rest of the run.

    Scores do not depend on the budget beyond rounding. The halved budget is said once and recorded in the manifest.
    """

    def __init__(self, job: Job, scorer: str, store: RunStore) -> None:
        self._job, self._scorer, self._store = job, scorer, store
        self._budget: int | None = None

    def score(self, batch: PairBatch) -> list[pa.Table]:
        """The rows of the batch's pairs, in one table or several.

        Raises:
            ModelError: a single pair does not fit.
        """
        if self._budget is not None and padded_tokens(batch) > self._budget and len(batch.pairs) > 1:
            return self._score_divided(batch)
        try:
            return [score_batch(self._job, batch, self._scorer)]
        except torch.OutOfMemoryError as error:
            if len(batch.pairs) == 1:
                label = self._job.labels[batch.pairs[0]][0]
                raise ModelError(
                    f"{label}: the memory of {self._job.loaded.device} does not suffice for this pair alone; "
                    "lower --max-tokens, or choose --dtype bfloat16 or another --device."
                ) from error
        first = self._budget is None
        self._budget = max(1, padded_tokens(batch) // 2)
        if first:
            LOG.warning(
                "out of memory on %s with batches of %d tokens: going on with %d, and fewer where that is too many",
                self._job.loaded.device,
                padded_tokens(batch),
                self._budget,
            )
        self._store.update_manifest(batch_tokens_within_memory=self._budget)
        return self._score_divided(batch)

    def _score_divided(self, batch: PairBatch) -> list[pa.Table]:
        assert self._budget is not None
        tokens = [self._job.tokens[position] for position in batch.pairs]
        tables = []
        for smaller in plan_batches(tokens, self._budget):
            pairs = tuple(batch.pairs[place] for place in smaller.pairs)
            tables += self.score(replace(smaller, pairs=pairs))
        return tables


def score_batch(job: Job, batch: PairBatch, scorer: str = "tiled") -> pa.Table:
    """One row per pair of the batch: measures by group, read-outs, baselines."""
    loaded, scoring = job.loaded, job.scoring
    labels: dict[int, str] = {}
    for position, pair in zip(batch.pairs, batch.sides, strict=True):
        for sentence, label in zip(pair, job.labels[position], strict=True):
            labels.setdefault(sentence, label)
    sentences = pad(
        batch.sentences,
        [labels[index] for index in range(len(batch.sentences))],
        pad_token=loaded.pad_token,
        device=loaded.device,
    )
    objective = OBJECTIVES[loaded.family].get(scoring.objective)
    sides = torch.tensor(batch.sides)
    consumer, result = consume(
        loaded, sentences, objective, lambda: PairMoments(loaded.maps, sides, scoring, scorer), hidden=scoring.baselines
    )
    columns = _measure_columns(job, batch, consumer)
    columns |= _token_columns(job, batch)
    columns |= _readout_columns(result, sides)
    if scoring.baselines:
        columns |= _baseline_columns(loaded, result, sides)
    return _table(batch.pairs, columns)


def _measure_columns(job: Job, batch: PairBatch, consumer: PairMoments) -> dict[str, Tensor]:
    consumer.check([job.labels[position] for position in batch.pairs])
    moments = consumer.moments()
    return {name: MEASURES[name](moments) for name in job.scoring.measures}


def _token_columns(job: Job, batch: PairBatch) -> dict[str, Tensor]:
    columns = {}
    for side, name in enumerate("ab"):
        columns[f"tokens_{name}"] = torch.tensor([len(job.tokens[p][side]) for p in batch.pairs], dtype=torch.int32)
        columns[f"truncated_{name}"] = torch.tensor([job.truncated[p][side] for p in batch.pairs])
    return columns


def _readout_columns(result: PassResult, sides: Tensor) -> dict[str, Tensor]:
    readout = result.readout
    columns = {}
    for side, name in enumerate("ab"):
        own = sides[:, side]
        columns[f"readout_{name}"] = to_float64(readout.values)[own]
        if readout.top_token is not None and readout.margin is not None:
            columns[f"top_token_{name}"] = readout.top_token.int().cpu()[own]
            columns[f"margin_{name}"] = to_float64(readout.margin.detach())[own]
    return columns


def _baseline_columns(loaded: LoadedModel, result: PassResult, sides: Tensor) -> dict[str, Tensor]:
    """Cosines of hidden states after every layer, and of the model's own embedding where it has one."""

    def cosine(vectors: Tensor) -> Tensor:
        unit = torch.nn.functional.normalize(to_float64(vectors), dim=-1)
        return torch.linalg.vecdot(unit[sides[:, 0]], unit[sides[:, 1]])

    hidden = result.hidden
    assert hidden is not None
    columns = {"hidden_mean": torch.stack([cosine(hidden.mean[block]) for block in sorted(hidden.mean)], dim=1)}
    if loaded.family == "causal":
        columns["hidden_last"] = torch.stack([cosine(hidden.last[block]) for block in sorted(hidden.last)], dim=1)
    if result.readout.pooled is not None:
        columns["embedding"] = cosine(loaded.embed(result.readout.pooled))
    return columns


def _table(pairs: Sequence[int], columns: dict[str, Tensor]) -> pa.Table:
    import pyarrow as pa

    arrays: dict[str, Any] = {"pair": pa.array(pairs, type=pa.int32())}
    for name, values in columns.items():
        if values.ndim == 1:
            arrays[name] = pa.array(values.numpy())
            continue
        flat = values.flatten().numpy()
        cells = pa.array(flat, mask=flat != flat)
        offsets = pa.array(range(0, len(flat) + 1, values.shape[1]), type=pa.int32())
        arrays[name] = pa.ListArray.from_arrays(offsets, cells)
    return pa.table(arrays)
