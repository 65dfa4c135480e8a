"""Score every pair of a data set: tokenise, batch, one pass per batch, measures per layer and kind, stored by parts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from actsim.config import Scoring
from actsim.core.batch import PairBatch, Tokens, group_batches, pad, plan_batches
from actsim.core.consumers import Group, PairMoments, Together, groups_of
from actsim.core.measures import MEASURES
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import PassResult, consume
from actsim.core.precision import to_float64
from actsim.core.scoring import default_backend
from actsim.core.side_by_side import plan_passes, side_by_side
from actsim.errors import ModelError
from actsim.models.devices import out_of_memory
from actsim.models.tokenise import tokenise_for

if TYPE_CHECKING:
    import pyarrow as pa

    from actsim.data.pairs import PairSet
    from actsim.models.loading import LoadedModel
    from actsim.store import PairScores, RunStore

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
    evaluate_together([job], [store], progress=progress)


def score_pairs(job: Job, *, progress: Progress | None = None) -> PairScores:
    """The scores of every pair without a store: held in memory, nothing is written."""
    import pyarrow as pa

    from actsim.store import PairScores

    within = WithinMemory(_backend_of(job))
    at_a_time, passes_of = _passes(job)
    passes = [batch for part in passes_of for batch in part]
    tables: list[pa.Table] = []

    def work(loaded: LoadedModel, batch: PairBatch) -> list[pa.Table]:
        return within.score([replace(job, loaded=loaded)], batch)[0]

    with closing(side_by_side(work, passes, job.loaded, at_a_time)) as scored:
        for batch, own in zip(passes, scored, strict=True):
            tables += own
            if progress is not None:
                progress(len(batch.pairs))
    return PairScores(pa.concat_tables(tables).sort_by("pair"), tuple(job.groups), job.scoring.measures)


def evaluate_together(jobs: Sequence[Job], stores: Sequence[RunStore], *, progress: Progress | None = None) -> None:
    """Score what the stores do not hold yet, in passes that the jobs share: one per batch, whatever their number.

    Each part is computed for the stores that miss it. A score is, bit for bit, that of its job alone, as long as
    memory suffices.

    Args:
        jobs: of one model over the same pairs, their scorings equal but for pattern, measures and thresholds.
        stores: the store of each job.
        progress: told of the pairs of every batch, once for all jobs.

    Raises:
        ValueError: the jobs cannot share their passes.
    """
    import pyarrow as pa

    if not all(_same_passes(job, jobs[0]) for job in jobs):
        raise ValueError("jobs of different models, pairs, objectives or batches have no pass in common")
    missing = [set(store.missing()) for store in stores]
    if not any(missing):
        return
    within, (at_a_time, passes_of) = WithinMemory(_backend_of(jobs[0])), _passes(jobs[0])
    running = [store for store, parts in zip(stores, missing, strict=True) if parts]
    _record(
        running,
        scorer=within.scorer,
        passes_at_a_time=at_a_time,
        **({"passes_shared_by": len(jobs)} if len(jobs) > 1 else {}),
    )
    wanting = {part: [number for number, own in enumerate(missing) if part in own] for part in set().union(*missing)}
    passes = [(part, batch) for part in sorted(wanting) for batch in passes_of[part]]

    def work(loaded: LoadedModel, one: tuple[int, PairBatch]) -> list[list[pa.Table]]:
        part, batch = one
        return within.score([replace(jobs[number], loaded=loaded) for number in wanting[part]], batch)

    budget = within.budget
    with closing(side_by_side(work, passes, jobs[0].loaded, at_a_time)) as scored:
        for part, own in groupby(zip(passes, scored, strict=True), key=lambda one: one[0][0]):
            tables: list[list[pa.Table]] = [[] for _ in wanting[part]]
            for (_, batch), found in own:
                for table, new in zip(tables, found, strict=True):
                    table += new
                if within.budget != budget:
                    budget = within.budget
                    _record(running, batch_tokens_within_memory=budget)
                if progress is not None:
                    progress(len(batch.pairs))
            for number, table in zip(wanting[part], tables, strict=True):
                stores[number].write_part(part, pa.concat_tables(table))


def _passes(job: Job) -> tuple[int, list[list[PairBatch]]]:
    """How many passes go side by side, and those of each part, in the order of its pairs."""
    batches = [batch for part in job.parts for batch in part]
    plan = plan_passes(batches, job.scoring.batch_tokens, job.loaded)
    divided = iter(plan.passes)
    return plan.at_a_time, [[own for _ in part for own in next(divided)] for part in job.parts]


def _record(stores: Sequence[RunStore], **circumstances: Any) -> None:
    for store in stores:
        store.update_manifest(**circumstances)


def _same_passes(one: Job, other: Job) -> bool:
    """Whether both jobs send the same batches through the same model, forward and backward from the same read-out."""
    free = {name: getattr(other.scoring, name) for name in ("pattern", "measures", "gamma", "top_fraction")}
    return (
        one.loaded is other.loaded
        and replace(one.scoring, **free) == other.scoring
        and (one.tokens, one.parts) == (other.tokens, other.parts)
    )


def _backend_of(job: Job) -> str:
    scorer = default_backend(job.loaded.scoring_device, job.loaded.dtype)
    LOG.info("scoring backend: %s", scorer)
    return scorer


class WithinMemory:
    """Scores batches; where the device's memory does not suffice, the token budget is halved for the rest of the run.

    Scores do not depend on the budget beyond rounding. That it was halved is said once.

    Attributes:
        scorer: name of the scoring backend.
        budget: the halved budget, None as long as memory sufficed.
    """

    def __init__(self, scorer: str) -> None:
        self.scorer = scorer
        self.budget: int | None = None
        self._lock = threading.Lock()

    def score(self, jobs: Sequence[Job], batch: PairBatch) -> list[list[pa.Table]]:
        """For each job the rows of the batch's pairs, in one table or several.

        Raises:
            ModelError: a single pair does not fit.
        """
        if self.budget is not None and batch.tokens > self.budget and len(batch.pairs) > 1:
            return self._score_divided(jobs, batch)
        try:
            return [[table] for table in score_together(jobs, batch, self.scorer)]
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if len(batch.pairs) == 1:
                label = jobs[0].labels[batch.pairs[0]][0]
                raise ModelError(
                    f"{label}: the memory of {jobs[0].loaded.device} does not suffice for this pair alone; "
                    "lower --max-tokens, or choose --dtype bfloat16 or another --device."
                ) from error
        with self._lock:
            first = self.budget is None
            self.budget = max(1, batch.tokens // 2)
        if first:
            LOG.warning(
                "out of memory on %s with batches of %d tokens: going on with %d, and fewer where that is too many",
                jobs[0].loaded.device,
                batch.tokens,
                self.budget,
            )
        return self._score_divided(jobs, batch)

    def _score_divided(self, jobs: Sequence[Job], batch: PairBatch) -> list[list[pa.Table]]:
        assert self.budget is not None
        tokens = [jobs[0].tokens[position] for position in batch.pairs]
        tables: list[list[pa.Table]] = [[] for _ in jobs]
        for smaller in plan_batches(tokens, self.budget):
            pairs = tuple(batch.pairs[place] for place in smaller.pairs)
            for own, found in zip(tables, self.score(jobs, replace(smaller, pairs=pairs)), strict=True):
                own += found
        return tables


def score_batch(job: Job, batch: PairBatch, scorer: str = "tiled") -> pa.Table:
    """One row per pair of the batch: measures by group, read-outs, baselines."""
    return score_together([job], batch, scorer)[0]


def score_together(jobs: Sequence[Job], batch: PairBatch, scorer: str = "tiled") -> list[pa.Table]:
    """The table of ``score_batch`` for each of several jobs, out of one pass; see ``evaluate_together``."""
    loaded, scoring, names = jobs[0].loaded, jobs[0].scoring, jobs[0].labels
    labels: dict[int, str] = {}
    for position, pair in zip(batch.pairs, batch.sides, strict=True):
        for sentence, label in zip(pair, names[position], strict=True):
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
        loaded,
        sentences,
        objective,
        lambda: Together([PairMoments(loaded.maps, sides, job.scoring, scorer) for job in jobs]),
        hidden=scoring.baselines,
    )
    shared = _token_columns(jobs[0], batch) | _readout_columns(result, sides)
    if scoring.baselines:
        shared |= _baseline_columns(loaded, result, sides)
    return [
        _table(batch.pairs, _measure_columns(job, batch, own) | shared)
        for job, own in zip(jobs, consumer.consumers, strict=True)
    ]


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
