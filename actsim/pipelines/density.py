"""Density: how many parameters of each layer the samples of a domain activate, beyond a threshold and without one."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actsim.config import Scoring, check_density
from actsim.core.batch import Batch, pad, plan_sequences
from actsim.core.consumers import Group, distinct_maps, groups_of
from actsim.core.density import Histogram, MeanPatterns, whole
from actsim.core.linears import LinearMap
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern, default_backend
from actsim.errors import ModelError, UsageError
from actsim.models.devices import out_of_memory
from actsim.store.densities import ALL_SAMPLES, KEYS, density_columns
from actsim.store.tables import Key, TableLayout

if TYPE_CHECKING:
    import pyarrow as pa

    from actsim.models.loading import LoadedModel
    from actsim.models.sampling import Samples
    from actsim.store import RunStore

LOG = logging.getLogger("actsim")

BYTES_PER_PARAMETER = 8
"""Two float32 accumulators: of the open fold, and of all."""

Progress = Callable[[int], None]
"""Called with the number of samples just finished, a sample once for each pass over it."""


@dataclass(frozen=True)
class Job:
    """Everything that is decided before the first pass.

    Attributes:
        loaded: the model.
        scoring: read-out, pattern, token budget.
        samples: those of every domain.
        gammas: the thresholds, in increasing order.
        folds: in how many groups the samples of a domain are taken apart for the intervals; 1 for none.
    """

    loaded: LoadedModel
    scoring: Scoring
    samples: tuple[Samples, ...]
    gammas: tuple[float, ...]
    folds: int

    @property
    def maps(self) -> dict[int, list[LinearMap]]:
        """The maps of each layer, of those that share a parameter the first."""
        return distinct_maps(self.loaded.maps)

    @property
    def groups(self) -> list[Group]:
        """The (layer, kind) that there are numbers for."""
        return groups_of([linear for own in self.maps.values() for linear in own])

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Domain (by position) and layer of every part."""
        return [(domain, layer) for domain in range(len(self.samples)) for layer in sorted(self.maps)]

    @property
    def rows(self) -> tuple[tuple[Key, ...], ...]:
        """The keys of the rows of every part."""
        kinds: dict[int, list[str]] = {}
        for layer, kind in self.groups:
            kinds.setdefault(layer, []).append(kind)
        return tuple(
            tuple((self.samples[domain].domain, layer, fold, kind) for fold in self.fold_names for kind in kinds[layer])
            for domain, layer in self.parts
        )

    def layout(self, digest: str) -> TableLayout:
        """What the parts look like: one for every domain and layer."""
        rows = self.rows
        return TableLayout(
            digest=digest,
            groups=tuple(self.groups),
            counts=tuple(map(len, rows)),
            columns=density_columns(len(self.gammas)),
            keys=KEYS,
            rows=rows,
        )

    @property
    def fold_names(self) -> range:
        """All samples, then, where there are several, the folds."""
        return range(self.folds + 1 if self.folds > 1 else 1)


def prepare(
    loaded: LoadedModel, samples: Sequence[Samples], scoring: Scoring, gammas: Sequence[float], folds: int
) -> Job:
    """Check what is asked for.

    Raises:
        UsageError: a pattern that is not absolute, an impossible γ, or more folds than samples.
    """
    check_density(scoring.pattern, folds, min(map(len, samples)))
    for gamma in gammas:
        if not 0 <= gamma < float("inf"):
            raise UsageError(f"--gamma must be a finite number of at least 0, got {gamma}.")
    if not gammas:
        raise UsageError("no threshold given; give --gamma at least once.")
    OBJECTIVES[loaded.family].check(scoring.objective)
    return Job(loaded, scoring, tuple(samples), tuple(sorted(set(gammas))), folds)


def folds_of(samples: Samples, folds: int) -> list[list[int]]:
    """Positions of the samples of each fold: by a hash of their tokens, so that their order does not matter."""

    def rank(position: int) -> bytes:
        return hashlib.sha256(" ".join(map(str, samples.tokens[position])).encode()).digest()

    order = sorted(range(len(samples.tokens)), key=rank)
    return [order[fold::folds] for fold in range(folds)]


def layer_groups(job: Job, layers: Sequence[int], memory: int) -> list[list[int]]:
    """``layers`` in order, in groups whose accumulators take at most ``memory`` bytes.

    Raises:
        UsageError: a single layer takes more.
    """
    groups: list[list[int]] = []
    room = 0
    for layer in layers:
        needed = accumulator_bytes(job, [layer])
        if needed > memory:
            raise UsageError(
                f"the accumulators of layer {layer} take {needed / 2**20:.0f} MiB, and {memory / 2**20:.0f} MiB are "
                "free for them; give more with --memory, or use a smaller --batch-tokens."
            )
        if needed > room:
            groups.append([])
            room = memory
        groups[-1].append(layer)
        room -= needed
    return groups


def accumulator_bytes(job: Job, layers: Sequence[int]) -> int:
    """What the accumulators of these layers take."""
    return BYTES_PER_PARAMETER * sum(linear.parameter.numel() for layer in layers for linear in job.maps[layer])


@dataclass(frozen=True)
class Plan:
    """What is still to be done: the samples of a domain go through once for each of its groups of layers.

    Attributes:
        passes: domain (by position) and layers, in order.
        accumulators: bytes of the largest group.
    """

    passes: tuple[tuple[int, tuple[int, ...]], ...]
    accumulators: int

    def samples(self, job: Job) -> int:
        """Samples that go through, one for each pass over it."""
        return sum(len(job.samples[domain].tokens) for domain, _ in self.passes)


def plan_passes(job: Job, missing: Sequence[int], memory: int) -> Plan:
    """Lay out the passes for the parts that are missing, with accumulators of at most ``memory`` bytes.

    Raises:
        UsageError: see ``layer_groups``.
    """
    layers: dict[int, list[int]] = {}
    for part in missing:
        domain, layer = job.parts[part]
        layers.setdefault(domain, []).append(layer)
    passes = [(domain, tuple(group)) for domain, own in layers.items() for group in layer_groups(job, own, memory)]
    return Plan(tuple(passes), max((accumulator_bytes(job, group) for _, group in passes), default=0))


Profiles = dict[int, dict[int, dict[str, Histogram]]]
"""Fold -> layer -> kind -> distribution of Ā."""


class Runner:
    """Sends the samples of a domain through the model; the backend is chosen once.

    Where the device's memory does not suffice, the token budget is halved for the rest of the run and the samples of
    the domain go through again: numbers do not depend on the budget beyond rounding.

    Attributes:
        job: what is done.
        scorer: name of the scoring backend.
        budget: padded tokens per batch.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.scorer = default_backend(job.loaded.scoring_device, job.loaded.dtype)
        self.budget = job.scoring.batch_tokens
        LOG.info("scoring backend: %s", self.scorer)

    def profile(self, domain: int, layers: Sequence[int], progress: Progress | None) -> Profiles:
        """The distributions of Ā of some layers over the samples of a domain."""
        counter = _Counter(progress)
        while True:
            try:
                return self._profile(domain, layers, counter)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._halve_budget(domain, error)
            counter.start_over()

    def _halve_budget(self, domain: int, error: RuntimeError) -> None:
        samples, device = self.job.samples[domain], self.job.loaded.device
        if self.budget <= max(map(len, samples.tokens)):
            raise ModelError(
                f"{samples.domain}: the memory of {device} does not suffice for one sample; lower --max-tokens or "
                "--memory, or choose --dtype bfloat16."
            ) from error
        self.budget //= 2
        LOG.warning("out of memory on %s: going on with batches of %d tokens", device, self.budget)

    def _profile(self, domain: int, layers: Sequence[int], progress: Progress) -> Profiles:
        job, samples = self.job, self.job.samples[domain]
        sums, target = self._accumulators(layers)
        found: Profiles = {}
        for fold, positions in enumerate(folds_of(samples, job.folds), start=1):
            for batch, size in self._batches(samples, positions):
                self._take(target, batch, sums)
                progress(size)
            own = sums.close_fold(len(positions), job.gammas)
            if job.folds > 1:
                found[fold] = own
        found[ALL_SAMPLES] = sums.profile(len(samples.tokens), job.gammas)
        return found

    def _accumulators(self, layers: Sequence[int]) -> tuple[MeanPatterns, LoadedModel]:
        """Empty sums for the maps of some layers, and the model with only these maps to be traced."""
        own = [linear for layer in layers for linear in self.job.maps[layer]]
        parameters = {id(linear.parameter) for linear in own}
        traced = tuple(linear for linear in self.job.loaded.maps if id(linear.parameter) in parameters)
        scoring = self.job.scoring
        return (
            MeanPatterns(own, Pattern(scoring.absolute, scoring.weighted), self.scorer),
            replace(self.job.loaded, maps=traced),
        )

    def _batches(self, samples: Samples, positions: Sequence[int]) -> Iterator[tuple[Batch, int]]:
        """The samples at some positions, batch by batch, and how many there are in each."""
        tokens = [samples.tokens[position] for position in positions]
        loaded = self.job.loaded
        for batch in plan_sequences(tokens, self.budget):
            labels = [f"{samples.domain} sample {samples.ids[positions[place]]}" for place in batch]
            own = [tokens[place] for place in batch]
            yield pad(own, labels, pad_token=loaded.pad_token, device=loaded.device), len(batch)

    def _take(self, target: LoadedModel, batch: Batch, sums: MeanPatterns) -> None:
        objective = OBJECTIVES[target.family].get(self.job.scoring.objective)
        taken: set[int] = set()
        consume(target, batch, objective, lambda: sums.batch(taken))

    def seconds(self, plan: Plan) -> float:
        """An estimate of the time that a plan takes: a batch of middle length is run, and time goes by its tokens."""
        domain, layers = plan.passes[0]
        samples = self.job.samples[domain]
        sums, target = self._accumulators(layers)
        batches = list(self._batches(samples, range(len(samples.tokens))))
        batch, _ = batches[len(batches) // 2]
        self._take(target, batch, sums)  # the first one also warms up
        per_token = _seconds(lambda: self._take(target, batch, sums)) / batch.input_ids.numel()
        per_fold = _seconds(lambda: sums.close_fold(2, self.job.gammas))
        tokens = sum(len(own) for domain, _ in plan.passes for own in self.job.samples[domain].tokens)
        return per_token * tokens + per_fold * len(self.job.fold_names) * len(plan.passes)


class _Counter:
    """Passes on how many samples are through, and takes them back where they have to go through again."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, samples: int) -> None:
        self._done += samples
        if self._progress is not None:
            self._progress(samples)

    def start_over(self) -> None:
        self(-self._done)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run_passes(runner: Runner, plan: Plan, store: RunStore, *, progress: Progress | None = None) -> None:
    """Do what the plan says, and store a part for every layer of a pass when it is through.

    Raises:
        NumericError: a sum is not finite, or a read-out says nothing; names the sample.
        ModelError: a single sample does not fit into memory.
    """
    job = runner.job
    numbers = {place: number for number, place in enumerate(job.parts)}
    store.update_manifest(scorer=runner.scorer)
    for domain, layers in plan.passes:
        found = runner.profile(domain, layers, progress)
        for layer in layers:
            store.write_part(numbers[domain, layer], _table(job, domain, layer, found))
        if runner.budget < job.scoring.batch_tokens:
            store.update_manifest(batch_tokens_within_memory=runner.budget)


def _table(job: Job, domain: int, layer: int, found: Profiles) -> pa.Table:
    """The rows of one part."""
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    samples = job.samples[domain]
    sizes = [len(samples.tokens), *map(len, folds_of(samples, job.folds))]
    for fold in job.fold_names:
        own: Mapping[str, Histogram] = {"all": whole(found[fold][layer]), **found[fold][layer]}
        for kind, histogram in own.items():
            key = {"domain": samples.domain, "layer": layer, "fold": fold, "kind": kind, "samples": sizes[fold]}
            rows.append(key | _measures(histogram, job.gammas))
    types = {"string": pa.string(), "int32": pa.int32(), "int64": pa.int64(), "double": pa.float64()}
    types["list<int64>"] = pa.list_(pa.int64())
    schema = pa.schema([(column.name, types[column.type]) for column in density_columns(len(job.gammas))])
    return pa.Table.from_pylist(rows, schema=schema)


def _measures(histogram: Histogram, gammas: Sequence[float]) -> dict[str, Any]:
    gini, error = histogram.gini()
    over = histogram.counts_over()
    return {
        "parameters": histogram.n,
        "mean": histogram.mean,
        "gini": gini,
        "gini_error": error,
        "participation": histogram.participation(),
        "zeros": histogram.n - over[0.0],
        "counts": [over[gamma] for gamma in gammas],
    }
