"""Vectors of texts: their cosine is the score they stand for, whatever the batches, and texts without one are zero."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from scipy import sparse

import actsim
from actsim.config import FINGERPRINTS, Encoding, Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.errors import ModelError, NumericError, UsageError
from actsim.models.loading import wrap_model
from actsim.pipelines.encoding import Encoder, encode
from actsim.pipelines.similarity import fingerprint, similarity

TEXTS = list(tiny_models.SENTENCES)


def scoring_of(loaded, objective: str | None = None, **changes) -> Scoring:
    first = objective or next(iter(OBJECTIVES[loaded.family]))
    return Scoring(first, dtype=loaded.dtype, max_tokens=loaded.max_tokens, **changes)


def dense(vectors: torch.Tensor) -> np.ndarray:
    return vectors.to_dense().double().numpy()


def test_the_public_name_is_the_pipelines():
    assert actsim.encode is encode


@pytest.mark.parametrize("family", ["llama", "bert", "gpt2"])
@pytest.mark.parametrize("layers", ["last", "deep", "all"])
def test_neuron_sums_have_the_cosines_of_fingerprints_averaged_over_the_band(family, layers):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    vectors = dense(encode(TEXTS, loaded, Encoding("neurons", layers, dim=None)))
    prints = fingerprint(TEXTS, loaded)
    band = {"last": [3], "deep": [2, 3], "all": [1, 2, 3]}[layers]
    want = [np.mean([prints[0].cosine(other)[layer] for layer in band]) for other in prints]
    np.testing.assert_allclose(vectors @ vectors[0], want, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_rows_and_columns_are_the_halves_of_neurons():
    loaded = tiny_models.loaded("bert", dtype=torch.float64)
    (first, *_), rows = fingerprint(TEXTS[:1], loaded), encode(TEXTS[:1], loaded, Encoding("rows", "last", dim=None))
    columns = encode(TEXTS[:1], loaded, Encoding("columns", "last", dim=None))
    parts = torch.split(first.layers[3], [size for _, d_out, d_in in first.maps[3] for size in (d_out, d_in)])
    for found, wanted in ((rows, parts[0::2]), (columns, parts[1::2])):
        whole = torch.cat(wanted)
        torch.testing.assert_close(found[0].double(), whole / whole.norm(), rtol=1e-6, atol=1e-7)


def test_sets_have_the_overlap_of_activated_sets_as_their_cosine():
    loaded = tiny_models.loaded("bert", dtype=torch.float64)
    vectors = encode(TEXTS, loaded, Encoding("sets", "deep", "overlap", dim=None, top_fraction=0.05))
    assert vectors.is_sparse
    scoring = scoring_of(loaded, measures=("overlap",), top_fraction=0.05)
    for row, text in enumerate(TEXTS):
        layers = similarity(TEXTS[0], text, loaded, scoring)["overlap"].layers
        assert dense(vectors)[row] @ dense(vectors)[0] == pytest.approx((layers[2] + layers[3]) / 2, abs=1e-6)


def test_sets_of_everything_have_the_cosine_of_the_whole_pattern():
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    vectors = dense(encode(TEXTS, loaded, Encoding("sets", "all", dim=None, top_fraction=1.0)))
    for row, text in enumerate(TEXTS):
        exact = np.mean(list(similarity(TEXTS[0], text, loaded)["cosine"].layers.values()))
        assert vectors[row] @ vectors[0] == pytest.approx(exact, abs=1e-6)


def test_a_sketch_is_within_its_stated_error_of_the_exact_cosine():
    loaded, buckets = tiny_models.loaded("bert", dtype=torch.float64), 500
    exact = similarity(TEXTS[0], TEXTS[1], loaded)["cosine"].layers[3]
    errors = []
    for seed in range(40):
        first, second = dense(encode(TEXTS[:2], loaded, Encoding("sketch", "last", dim=buckets, seed=seed)))
        errors.append(first @ second - exact)
    assert np.sqrt(np.mean(np.square(errors))) < np.sqrt((1 + exact**2) / buckets)
    assert len(set(errors)) == 40


@pytest.mark.parametrize("kind", FINGERPRINTS)
def test_the_vector_is_as_wide_as_said_and_no_wider_than_dim(kind):
    loaded = tiny_models.loaded("gpt2")
    for dim in (7, 64, 10**6):
        encoder = Encoder(loaded, scoring_of(loaded), Encoding(kind, "all", dim=dim))
        vectors = encoder.encode(TEXTS[:2])
        assert vectors.shape == (2, encoder.width)
        assert encoder.width <= dim
        assert vectors.dtype == torch.float32


@pytest.mark.parametrize("kind", FINGERPRINTS)
def test_order_batches_and_repetition_do_not_matter(kind):
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    encoding = Encoding(kind, dim=64, top_fraction=0.03) if kind == "sets" else Encoding(kind, dim=64)
    together = encode(TEXTS, loaded, encoding, scoring_of(loaded, batch_tokens=1000))
    mixed = encode([*TEXTS[::-1], TEXTS[2]], loaded, encoding, scoring_of(loaded, batch_tokens=1))
    torch.testing.assert_close(mixed[:-1].flip(0), together, rtol=0, atol=2e-6)
    assert torch.equal(mixed[-1], mixed[3])


def test_texts_that_leave_nothing_to_score_are_zero_and_counted(caplog):
    loaded = wrap_model(tiny_models.build("llama"), tiny_models.tokenizer(start=False), name="without-start")
    scoring = scoring_of(loaded, "nll")
    vectors = encode([TEXTS[0], "", " \n", "boat"], loaded, Encoding(), scoring)
    assert vectors.norm(dim=1).tolist() == [pytest.approx(1, abs=1e-6), 0, 0, 0]
    assert "3 of 4 texts leave nothing to score" in caplog.text
    assert encode([], loaded).shape == (0, Encoder(loaded, scoring, Encoding()).width)


def test_a_value_that_is_not_finite_is_an_error_that_names_the_text():
    loaded = tiny_models.loaded("bert")
    loaded.model.embeddings.word_embeddings.weight[tiny_models.VOCABULARY["boat"]] = float("nan")
    with pytest.raises(NumericError, match="text 6"):
        encode(TEXTS, loaded)


def test_bfloat16_is_close_to_float32():
    wide, half = (tiny_models.loaded("bert", dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    first, second = encode(TEXTS, wide), encode(TEXTS, half)
    assert second.dtype == torch.float32
    assert ((first * second).sum(dim=1) > 0.99).all()


def test_progress_counts_every_text_once():
    loaded, done = tiny_models.loaded("bert"), []
    Encoder(loaded, scoring_of(loaded), Encoding()).encode([*TEXTS, TEXTS[0], ""], done.append)
    assert sum(done) == len(TEXTS) + 2


def test_sparse_rows_are_what_scipy_reads():
    loaded = tiny_models.loaded("bert")
    vectors = encode(TEXTS, loaded, Encoding("sets", "last", "overlap", dim=None)).coalesce()
    matrix = sparse.csr_array((vectors.values().numpy(), vectors.indices().numpy()), shape=vectors.shape)
    np.testing.assert_allclose((matrix @ matrix.T).toarray(), dense(vectors) @ dense(vectors).T, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "column"}, "unknown kind of fingerprint 'column'.*Did you mean 'columns'"),
        ({"measure": "ruzicka"}, "unknown measure of fingerprints"),
        ({"measure": "overlap"}, "has none; use kind='sets'"),
        ({"top_fraction": 0.5}, "acts on kind='sets' only"),
        ({"kind": "sets", "top_fraction": 0.0}, "in \\(0, 1\\]"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"kind": "sketch", "dim": None}, "needs a length"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Encoding(**settings)


def test_settings_that_do_not_fit_the_model_are_refused():
    loaded = tiny_models.loaded("bert")
    for encoding, scoring, message in (
        (Encoding(layers="4"), scoring_of(loaded), "layers 1 to 3"),
        (Encoding(layers="all", dim=2), scoring_of(loaded), "less than one entry"),
        (Encoding("sets"), scoring_of(loaded, pattern="signed-weighted"), "absolute pattern"),
        (Encoding(), scoring_of(loaded, "nll"), "unknown objective"),
    ):
        with pytest.raises(UsageError, match=message):
            Encoder(loaded, scoring, encoding)
    with pytest.raises(UsageError, match="pass \\[text\\]"):
        encode("a man walks", loaded)


def limit_memory(monkeypatch, tokens: int) -> list[int]:
    """Let batches of more padded tokens fail as on a full card; returns the sizes that were tried."""
    whole, tried = Encoder._vectors, []

    def limited(self, batch):
        tried.append(batch.input_ids.numel())
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, batch)

    monkeypatch.setattr(Encoder, "_vectors", limited)
    return tried


@pytest.mark.parametrize("kind", ["columns", "sets"])
def test_out_of_memory_halves_the_batches_says_so_and_changes_no_vector(monkeypatch, caplog, kind):
    loaded = tiny_models.loaded("bert", dtype=torch.float64)
    encoder = Encoder(loaded, scoring_of(loaded, batch_tokens=1000), Encoding(kind))
    texts = [*TEXTS, *TEXTS[::-1]]
    whole, longest = encoder.encode(texts), max(len(ids) for ids in loaded.tokenizer(TEXTS)["input_ids"])
    tried, done = limit_memory(monkeypatch, longest), []
    torch.testing.assert_close(encoder.encode(texts, done.append), whole, rtol=1e-6, atol=1e-8)
    assert tried[0] > longest and tried[-1] <= longest
    assert sum(done) == len(texts)
    said = [record.message for record in caplog.records if "out of memory on cpu" in record.message]
    assert len(said) == sum(size > longest for size in tried)


def test_a_text_that_does_not_fit_alone_is_an_error_that_names_it(monkeypatch):
    limit_memory(monkeypatch, 0)
    with pytest.raises(ModelError, match="text 1: the memory of cpu does not suffice for this text alone"):
        encode(TEXTS[:1], tiny_models.loaded("bert"))


def test_other_errors_of_torch_pass_through(monkeypatch):
    def broken(self, batch):
        raise RuntimeError("something else")

    monkeypatch.setattr(Encoder, "_vectors", broken)
    with pytest.raises(RuntimeError, match="something else"):
        encode(TEXTS[:2], tiny_models.loaded("bert"))
