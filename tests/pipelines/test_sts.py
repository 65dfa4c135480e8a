"""Scoring the pairs of a data set: columns, nulls, errors that name the pair, and runs that go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import three_ways
import tiny_models
import tiny_pairs
import torch

from actsim.config import RunConfig, Scoring
from actsim.core import side_by_side
from actsim.core.batch import PairBatch
from actsim.core.scoring import default_backend
from actsim.errors import DataError, ModelError, NumericError
from actsim.models.devices import out_of_memory
from actsim.models.loading import LoadedModel, wrap_model
from actsim.pipelines import sts
from actsim.store import PairScores, RunStore

COMMON = ["pair", "tokens_a", "tokens_b", "truncated_a", "truncated_b", "readout_a", "readout_b"]
EVERYTHING = ("cosine", "ruzicka", "jaccard", "overlap")


def without_start(family: str = "llama", dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A tiny model whose tokenizer adds nothing, so that one word is one token."""
    return wrap_model(tiny_models.build(family).to(dtype), tiny_models.tokenizer(start=False), name=family)


def table_of(job: sts.Job, **options: object) -> pa.Table:
    """All rows of a job, in the order of the pairs."""
    tables = [sts.score_batch(job, batch, **options) for part in job.parts for batch in part]
    return pa.concat_tables(tables).sort_by("pair")


def score(loaded: LoadedModel, pairs, **settings: object) -> dict[str, list]:
    job = sts.prepare(loaded, tiny_pairs.pair_set(pairs), Scoring(**settings))
    return table_of(job).to_pydict()


@pytest.mark.parametrize(
    ("family", "objective", "baselines", "columns"),
    [
        ("llama", "next-token", True, ["top_token", "margin", "hidden_mean", "hidden_last"]),
        ("llama", "nll", True, ["hidden_mean", "hidden_last"]),
        ("llama", "log-prob", False, ["top_token", "margin"]),
        ("bert", "embedding-norm", True, ["hidden_mean", "embedding"]),
        ("deberta_v2", "embedding-norm", True, ["hidden_mean", "embedding"]),
        ("bert", "embedding-norm", False, []),
    ],
)
def test_columns(family, objective, baselines, columns):
    loaded = tiny_models.loaded(family)
    scoring = Scoring(objective, measures=EVERYTHING, baselines=baselines)
    job = sts.prepare(loaded, tiny_pairs.pair_set(), scoring)
    table = table_of(job)
    sided = [f"{name}_{side}" for name in columns if name in ("top_token", "margin") for side in "ab"]
    plain = [name for name in columns if name not in ("top_token", "margin")]
    assert sorted(table.column_names) == sorted([*COMMON, *EVERYTHING, *sided, *plain])
    rows = table.to_pylist()
    assert [row["pair"] for row in rows] == list(range(len(tiny_pairs.PAIRS)))
    for row in rows:
        assert all(len(row[name]) == len(job.groups) for name in EVERYTHING)
        assert all(len(row[name]) == loaded.n_layers for name in plain if name != "embedding")


def test_a_part_is_what_the_store_takes(tmp_path):
    loaded = tiny_models.loaded("llama")
    pairs = tiny_pairs.pair_set()
    scoring = Scoring("next-token", measures=EVERYTHING)
    job = sts.prepare(loaded, pairs, scoring)
    scorer = default_backend(loaded.device, loaded.dtype)
    with open_store(tmp_path, job, pairs) as store:
        done: list[int] = []
        sts.evaluate_pairs(job, store, progress=done.append)
        assert sum(done) == len(pairs)
        assert store.missing() == []
        table = store.read_parts()
    assert table.select(["pair", "cosine"]).equals(table_of(job, scorer=scorer).select(["pair", "cosine"]))


def open_store(directory, job: sts.Job, pairs) -> RunStore:
    config = RunConfig(pairs.identity(), job.loaded.identity(), job.scoring)
    return RunStore.open(directory, config, groups=job.groups, part_pairs=job.part_pairs, record={})


class Stop(Exception):
    """Raised in the middle of a run."""


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(tmp_path, monkeypatch, stop_after):
    monkeypatch.setattr(sts, "PAIRS_PER_PART", 2)
    loaded, pairs = tiny_models.loaded("bert"), tiny_pairs.pair_set()
    job = sts.prepare(loaded, pairs, Scoring("embedding-norm", batch_tokens=12))
    assert len(job.parts) > 2
    with open_store(tmp_path / "whole", job, pairs) as store:
        sts.evaluate_pairs(job, store)
        whole = store.read_parts()
    seen = 0

    def stop(count: int) -> None:
        nonlocal seen
        seen += count
        if seen >= stop_after:
            raise Stop

    with pytest.raises(Stop), open_store(tmp_path / "stopped", job, pairs) as store:
        sts.evaluate_pairs(job, store, progress=stop)
    again = sts.prepare(loaded, pairs, Scoring("embedding-norm", batch_tokens=12))
    rest: list[int] = []
    with open_store(tmp_path / "stopped", again, pairs) as store:
        sts.evaluate_pairs(again, store, progress=rest.append)
        resumed = store.read_parts()
    assert sum(rest) <= len(pairs) and (stop_after < 4 or sum(rest) < len(pairs))
    assert resumed.equals(whole)


def limit_memory(monkeypatch: pytest.MonkeyPatch, tokens: int) -> list[int]:
    """Batches of more tokens fail as they do on a device whose memory is full; returns the sizes that were tried."""
    score_together, tried = sts.score_together, []

    def limited(jobs: list[sts.Job], batch: PairBatch, scorer: str) -> list[pa.Table]:
        tried.append(batch.tokens)
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return score_together(jobs, batch, scorer)

    monkeypatch.setattr(sts, "score_together", limited)
    return tried


def test_out_of_memory_halves_the_budget_once_said_and_changes_no_score(tmp_path, monkeypatch, caplog):
    loaded, pairs = tiny_models.loaded("bert"), tiny_pairs.pair_set()
    job = sts.prepare(loaded, pairs, Scoring("embedding-norm", batch_tokens=1000))
    with open_store(tmp_path / "whole", job, pairs) as store:
        sts.evaluate_pairs(job, store)
        whole = store.read_parts()
    largest_pair = max(2 * max(map(len, sides)) for sides in job.tokens)
    tried = limit_memory(monkeypatch, largest_pair)
    with open_store(tmp_path / "halved", job, pairs) as store:
        sts.evaluate_pairs(job, store)
        halved = store.read_parts()
        recorded = store.manifest["record"]["batch_tokens_within_memory"]
    assert max(tried) > largest_pair and recorded <= max(tried) // 2
    assert len([record for record in caplog.records if "out of memory" in record.message]) == 1
    for name in ("cosine", "readout_a", "embedding"):
        want, got = (np.array(table[name].to_pylist(), dtype=float) for table in (whole, halved))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_scores_held_in_memory_are_those_of_a_store(tmp_path, monkeypatch):
    loaded, pairs = tiny_models.loaded("llama"), tiny_pairs.pair_set()
    job = sts.prepare(loaded, pairs, Scoring("nll", batch_tokens=20, measures=EVERYTHING))
    with open_store(tmp_path / "run", job, pairs) as store:
        sts.evaluate_pairs(job, store)
        stored = PairScores(store.read_parts(), tuple(job.groups), job.scoring.measures)
    done: list[int] = []
    held = sts.score_pairs(job, progress=done.append)
    assert sum(done) == len(pairs) and len(done) == sum(map(len, job.parts)) > 1
    for measure in EVERYTHING:
        np.testing.assert_array_equal(held.scores(measure), stored.scores(measure))
    assert held.readouts().equals(stored.readouts())
    limit_memory(monkeypatch, 2 * max(max(map(len, sides)) for sides in job.tokens))
    whole = sts.prepare(loaded, pairs, Scoring("nll", batch_tokens=1000, measures=EVERYTHING))
    np.testing.assert_allclose(sts.score_pairs(whole).scores("cosine"), held.scores("cosine"), rtol=1e-5, atol=1e-6)


def test_a_pair_that_does_not_fit_alone_is_an_error_that_names_it(tmp_path, monkeypatch):
    loaded, pairs = tiny_models.loaded("bert"), tiny_pairs.pair_set()
    job = sts.prepare(loaded, pairs, Scoring("embedding-norm"))
    limit_memory(monkeypatch, 0)
    with open_store(tmp_path / "run", job, pairs) as store, pytest.raises(ModelError, match="pair alone"):
        sts.evaluate_pairs(job, store)


def test_preparing_is_a_pure_function():
    loaded, scoring = tiny_models.loaded("llama"), Scoring("nll", batch_tokens=20)
    first, second = (sts.prepare(loaded, tiny_pairs.pair_set(), scoring) for _ in range(2))
    assert first.parts == second.parts and first.tokens == second.tokens and first.labels == second.labels
    assert sorted(pair for part in first.part_pairs for pair in part) == list(range(len(tiny_pairs.PAIRS)))


@pytest.mark.parametrize("family", ["llama", "opt", "bert", "modernbert", "deberta_v2"])
def test_neither_budget_nor_order_of_the_pairs_changes_a_score(family):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    objective = three_ways.objectives_of(loaded)[-1]
    order = np.random.default_rng(0).permutation(len(tiny_pairs.PAIRS))
    found = []
    for pairs, batch_tokens in (
        (tiny_pairs.PAIRS, 10_000),
        (tiny_pairs.PAIRS, 1),
        (tiny_pairs.PAIRS, 30),
        (tuple(tiny_pairs.PAIRS[row] for row in order), 50),
    ):
        columns = score(loaded, pairs, objective=objective, measures=EVERYTHING, batch_tokens=batch_tokens)
        scores = np.array([columns[name] for name in (*EVERYTHING,)], dtype=np.float64)
        readouts = np.array([columns["readout_a"], columns["hidden_mean"]], dtype=object)
        found.append((scores, np.array([np.hstack([a, b]) for a, b in zip(*readouts, strict=True)])))
    reordered = found.pop()
    found.append(tuple(values[..., np.argsort(order), :] for values in reordered))
    for scores, others in found[1:]:
        np.testing.assert_allclose(scores, found[0][0], rtol=1e-9, atol=0, equal_nan=True)
        np.testing.assert_allclose(others, found[0][1], rtol=1e-9, atol=0)


def test_the_reference_backend_scores_the_same():
    job = sts.prepare(
        tiny_models.loaded("llama", dtype=torch.float64),
        tiny_pairs.pair_set(),
        Scoring("nll", measures=EVERYTHING, baselines=False),
    )
    fast, slow = (table_of(job, scorer=name).to_pydict() for name in ("tiled", "reference"))
    for name in EVERYTHING:
        np.testing.assert_allclose(
            np.array(fast[name], dtype=float), np.array(slow[name], dtype=float), rtol=1e-9, equal_nan=True
        )


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_sentence_is_wholly_like_itself_and_sides_may_be_swapped(family):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    pairs = ((tiny_pairs.MAN, tiny_pairs.MAN), (tiny_pairs.MAN, tiny_pairs.WOMAN), (tiny_pairs.WOMAN, tiny_pairs.MAN))
    objective = three_ways.objectives_of(loaded)[-1]
    job = sts.prepare(loaded, tiny_pairs.pair_set(pairs), Scoring(objective, measures=EVERYTHING))
    columns = table_of(job).to_pydict()
    whole = np.array([kind == "all" for _, kind in job.groups])
    for name in EVERYTHING:
        own, forth, back = np.array(columns[name], dtype=np.float64)
        np.testing.assert_allclose(own[whole], 1, rtol=1e-12)
        np.testing.assert_allclose(own[~np.isnan(own)], 1, rtol=1e-12)
        np.testing.assert_allclose(forth, back, rtol=1e-12, equal_nan=True)
        assert ((forth[whole] >= 0) & (forth[whole] < 1)).all()
    assert columns["readout_a"][1:] == columns["readout_b"][1:][::-1]


def test_float32_scores_pass_one_by_rounding_only():
    columns = score(tiny_models.loaded("llama"), tiny_pairs.PAIRS, objective="nll", measures=EVERYTHING)
    for name in EVERYTHING:
        values = np.array(columns[name], dtype=np.float64)
        assert np.nanmin(values) >= 0
        assert np.nanmax(values) <= 1 + 1e-6


def test_each_distinct_sentence_of_a_batch_goes_through_the_model_once():
    loaded = tiny_models.loaded("bert")
    rows: list[int] = []
    loaded.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    score(loaded, tiny_pairs.PAIRS, objective="embedding-norm", batch_tokens=10_000)
    assert rows == [len({sentence for pair in tiny_pairs.PAIRS for sentence in pair})]


def test_queries_and_keys_of_a_one_token_sentence_are_null_and_its_layers_are_not():
    """Attention over one position is constant. Padding must not turn the zero into a number."""
    pairs = (("boat", tiny_pairs.MAN), ("boat", "tree"), (tiny_pairs.WOMAN, tiny_pairs.MAN))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        loaded = without_start(dtype=dtype)
        for batch_tokens in (1, 10_000):
            job = sts.prepare(
                loaded,
                tiny_pairs.pair_set(pairs),
                Scoring("next-token", measures=("cosine", "ruzicka"), batch_tokens=batch_tokens),
            )
            table = table_of(job).to_pydict()
            null = [[value is None for value in row] for row in table["cosine"]]
            assert null[:2] == [[kind in ("q", "k") for _, kind in job.groups]] * 2
            assert not any(null[2])
            assert [value is None for value in table["ruzicka"][1]] == null[1]


def test_a_sentence_that_is_cut_is_flagged():
    loaded = tiny_models.loaded("bert")
    pairs = ((tiny_pairs.MAN, tiny_pairs.WOMAN), (tiny_pairs.WOMAN, tiny_pairs.OLD_DOG), (tiny_pairs.BOAT, "tree"))
    columns = score(loaded, pairs, objective="embedding-norm", max_tokens=5)
    assert columns["truncated_a"] == [True, False, False]
    assert columns["truncated_b"] == [False, True, False]
    assert columns["tokens_a"] == [5, 4, 2]
    assert columns["tokens_b"] == [4, 5, 2]


def test_a_cut_sentence_scores_as_the_words_that_are_left():
    loaded = tiny_models.loaded("bert", dtype=torch.float64)
    cut = score(loaded, ((tiny_pairs.MAN, tiny_pairs.WOMAN),), objective="embedding-norm", max_tokens=5)
    words = " ".join(tiny_pairs.MAN.split()[:4])
    short = score(loaded, ((words, tiny_pairs.WOMAN),), objective="embedding-norm")
    np.testing.assert_allclose(cut["cosine"], short["cosine"], rtol=1e-12)


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_nll_of_one_token_names_the_pair_and_the_side(batch_tokens):
    """The first of the pairs that the sentence is in."""
    pairs = ((tiny_pairs.MAN, tiny_pairs.WOMAN), (tiny_pairs.OLD_DOG, "boat"), (tiny_pairs.OLD_DOG, "boat"))
    with pytest.raises(NumericError, match=r"^tiny pair p1, sentence b: one token only"):
        score(without_start(), pairs, objective="nll", batch_tokens=batch_tokens)


def test_a_sentence_without_a_token_names_the_pair_and_the_side():
    pairs = ((tiny_pairs.MAN, tiny_pairs.WOMAN), (" ", "boat"))
    with pytest.raises(DataError, match=r"^tiny pair p1, sentence a: the sentence ' ' has no token"):
        score(without_start(), pairs, objective="next-token")


def silence_second_block(model) -> None:
    with torch.no_grad():
        for parameter in model.model.layers[1].parameters():
            if parameter.ndim == 2:
                parameter.zero_()


@pytest.mark.parametrize("measures", [("cosine",), ("ruzicka",), ("jaccard",), ("overlap", "cosine")])
def test_a_layer_without_a_pattern_names_sentence_and_layer(measures):
    loaded = tiny_models.loaded("llama", change=silence_second_block)
    with pytest.raises(NumericError, match=r"^tiny pair p0, sentence a: layer 2: no parameter is activated"):
        score(loaded, tiny_pairs.PAIRS[:1], objective="nll", measures=measures)


def test_nan_weights_name_pair_layer_and_module():
    def spoil(model) -> None:
        model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")

    loaded = tiny_models.loaded("llama", change=spoil)
    pattern = r"^tiny pair p\d, sentence [ab]: layer 2, module model\.layers\.1\.mlp\.down_proj: .*not finite"
    with pytest.raises(NumericError, match=pattern):
        score(loaded, tiny_pairs.PAIRS, objective="nll")


def test_baselines_are_cosines_of_pooled_states_and_of_the_embedding():
    loaded = tiny_models.loaded("bert", dtype=torch.float64)
    a, b = tiny_pairs.MAN, tiny_pairs.BOAT
    columns = score(loaded, ((a, b),), objective="embedding-norm")
    states = []
    for text in (a, b):
        encoded = loaded.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            output = loaded.model(input_ids=encoded["input_ids"], output_hidden_states=True)
        states.append([layer[0].mean(dim=0).numpy() for layer in output.hidden_states[1:]])

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / np.sqrt((x @ x) * (y @ y)))

    want = [cosine(x, y) for x, y in zip(*states, strict=True)]
    np.testing.assert_allclose(columns["hidden_mean"][0], want, rtol=1e-10)
    assert columns["embedding"][0] == pytest.approx(want[-1], rel=1e-10)


def test_the_last_token_baseline_is_the_state_at_the_last_own_token():
    loaded = tiny_models.loaded("gpt2", dtype=torch.float64)
    a, b = tiny_pairs.MAN, tiny_pairs.BOAT
    columns = score(loaded, ((a, b),), objective="nll")
    states = []
    for text in (a, b):
        ids = loaded.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states.append(loaded.model(input_ids=ids, output_hidden_states=True).hidden_states[1][0, -1].numpy())
    want = states[0] @ states[1] / np.sqrt((states[0] @ states[0]) * (states[1] @ states[1]))
    assert columns["hidden_last"][0][0] == pytest.approx(want, rel=1e-10)


def test_a_model_that_runs_one_sentence_at_a_time_scores_as_in_a_batch():
    loaded = tiny_models.loaded("llama")
    pairs, scoring = tiny_pairs.pair_set(), Scoring("next-token", measures=EVERYTHING, batch_tokens=10_000)
    batched, alone = (
        table_of(sts.prepare(model, pairs, scoring)).to_pydict() for model in (loaded, replace(loaded, batchable=False))
    )
    assert batched["top_token_a"] == alone["top_token_a"]
    for name in ("cosine", "ruzicka", "hidden_mean", "hidden_last", "readout_a"):
        np.testing.assert_allclose(
            np.array(batched[name], dtype=float), np.array(alone[name], dtype=float), 1e-5, 1e-7, equal_nan=True
        )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_is_out_of_memory(error, expected):
    assert out_of_memory(error) == expected


def test_a_cpu_without_memory_says_so_in_the_words_that_are_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert out_of_memory(caught.value)


@pytest.mark.parametrize("held", [2**40, 0])
@pytest.mark.parametrize("family", ["llama", "bert", "deberta_v2"])
def test_two_passes_at_a_time_leave_the_scores_of_one(tmp_path, monkeypatch, family, held):
    """Whole batches bit for bit; halves, whose padding differs, within rounding."""
    monkeypatch.setattr(side_by_side, "HELD_BYTES", held)
    monkeypatch.setattr(sts, "PAIRS_PER_PART", 4)
    loaded, pairs = tiny_models.loaded(family), tiny_pairs.pair_set()
    objective, budget = three_ways.objectives_of(loaded)[-1], 3 * longest_pair(loaded, pairs)
    job = sts.prepare(loaded, pairs, Scoring(objective, batch_tokens=budget, measures=EVERYTHING))
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with open_store(tmp_path / str(threads), job, pairs) as store:
                sts.evaluate_pairs(job, store)
                found.append(store.read_parts())
                assert store.manifest["record"]["passes_at_a_time"] == threads
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one, two = found
    if held:
        odd = set(job.parts[-1][-1].pairs)
        kept = [row for row, pair in enumerate(one["pair"].to_pylist()) if pair not in odd]
        assert len(kept) > 2 and two.take(kept).equals(one.take(kept))
    for name in ("cosine", "readout_a", "hidden_mean"):
        want, got = (np.array(table.sort_by("pair")[name].to_pylist(), dtype=float) for table in (one, two))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def longest_pair(loaded: LoadedModel, pairs) -> int:
    job = sts.prepare(loaded, pairs, Scoring(three_ways.objectives_of(loaded)[-1]))
    return max(len(a) + len(b) for a, b in job.tokens)
