"""Models of mteb made of fingerprints: stock tasks take them, and what mteb knows them by tells them apart."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tiny_models
import torch
from datasets import Dataset, DatasetDict
from pair_files import made_up_pairs
from scipy import sparse
from scipy.stats import spearmanr

import actsim
import actsim.integrations.mteb as integration
from actsim.config import FINGERPRINTS, Encoding, Scoring
from actsim.errors import DataError, ModelError, NumericError, UsageError
from actsim.pipelines.encoding import encode

TEXTS = list(tiny_models.SENTENCES)
BATCHES = [{"text": TEXTS[:2]}, {"text": TEXTS[2:]}]


@pytest.fixture(scope="module")
def mteb():
    return pytest.importorskip("mteb")


@pytest.fixture(scope="module")
def folder(mteb, tmp_path_factory):
    """A tiny encoder, registered as ``actsim/tiny-encoder``."""
    folder = tiny_models.save(tmp_path_factory.mktemp("models") / "tiny-encoder", "bert")
    integration.register(models=[str(folder)])
    return folder


def stock_sts(mteb):
    a, b, gold = zip(*made_up_pairs(14), strict=True)
    task = mteb.get_task("STSBenchmark")
    task.dataset = DatasetDict({"test": Dataset.from_dict({"sentence1": a, "sentence2": b, "score": gold})})
    task.data_loaded = True
    return task, (a, b, gold)


def scores_of(mteb, model, task, cache=None) -> dict:
    (result,) = mteb.evaluate(model, task, cache=cache, show_progress_bar=False).task_results
    (found,) = result.scores["test"]
    return found


@pytest.mark.parametrize("kind", FINGERPRINTS)
def test_vectors_are_those_of_the_pipeline_and_their_cosine_is_the_similarity(mteb, folder, kind):
    model = mteb.get_model("actsim/tiny-encoder", kind=kind, layers="all", dim=60)
    vectors = model.encode(BATCHES, task_metadata=None, hf_split="test", hf_subset="default", batch_size=32)
    torch.testing.assert_close(vectors, encode(TEXTS, actsim.load_model(folder), Encoding(kind, "all", dim=60)))
    assert (vectors.dtype, vectors.device.type, vectors.requires_grad) == (torch.float32, "cpu", False)
    cosine = (vectors @ vectors.T).numpy()
    np.testing.assert_allclose(model.similarity(vectors, vectors.numpy()).numpy(), cosine, atol=1e-6)
    np.testing.assert_allclose(
        model.similarity_pairwise(vectors, vectors.flip(0)).numpy(), np.diag(cosine[::-1]), atol=1e-6
    )


@pytest.mark.parametrize("given", [{}, {"kind": "sets", "dim": None, "measure": "overlap"}])
def test_a_stock_task_gives_the_correlation_of_the_vectors_cosines(mteb, folder, given):
    task, (a, b, gold) = stock_sts(mteb)
    found = scores_of(mteb, mteb.get_model("actsim/tiny-encoder", **given), task)
    loaded = actsim.load_model(folder)
    left, right = (encode(side, loaded, Encoding(**given)).to_dense() for side in (a, b))
    wanted = spearmanr((left * right).sum(dim=1).numpy(), gold)[0]
    assert found["main_score"] == found["cosine_spearman"] == pytest.approx(wanted, abs=1e-6)


def test_a_causal_model_and_its_read_out(mteb, tmp_path):
    integration.register(models=[str(tiny_models.save(tmp_path / "tiny-causal", "llama"))])
    model = mteb.get_model("actsim/tiny-causal", objective="nll", layers="2", dim=None)
    loaded = actsim.load_model(tmp_path / "tiny-causal")
    scoring = Scoring("nll", max_tokens=loaded.max_tokens)
    torch.testing.assert_close(model.encode(BATCHES), encode(TEXTS, loaded, Encoding(layers="2", dim=None), scoring))


def test_stock_tasks_of_pairs_and_of_clusters_take_dense_vectors(mteb, folder):
    model = mteb.get_model("actsim/tiny-encoder")
    a, b, _ = zip(*made_up_pairs(14), strict=True)
    pairs = mteb.get_task("TwitterSemEval2015")
    columns = {"sentence1": a, "sentence2": b, "labels": [0, 1] * 7}
    pairs.dataset = DatasetDict({"test": Dataset.from_dict(columns)})
    clusters = mteb.get_task("TwentyNewsgroupsClustering")
    texts = {"sentences": [TEXTS, TEXTS[::-1]], "labels": [[0, 0, 1, 1, 2, 2]] * 2}
    clusters.dataset = DatasetDict({"test": Dataset.from_dict(texts)})
    for task in (pairs, clusters):
        task.data_loaded = True
        assert 0 <= scores_of(mteb, model, task)["main_score"] <= 1


def test_sparse_vectors_are_scipys(mteb, folder):
    model = mteb.get_model("actsim/tiny-encoder", kind="sets", dim=None, top_fraction=0.02)
    vectors = model.encode(BATCHES)
    assert sparse.issparse(vectors) and vectors.dtype == np.float32
    dense = vectors.toarray()
    np.testing.assert_allclose(model.similarity(vectors, vectors).numpy(), dense @ dense.T, atol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(vectors, vectors).numpy(), np.ones(len(TEXTS)), atol=1e-5)
    assert model.mteb_model_meta.model_type == ["sparse"]


def test_what_is_known_of_a_model_is_real(mteb, folder):
    model = mteb.get_model("actsim/tiny-encoder", layers="last", dim=None, max_tokens=20)
    meta, inner = model.mteb_model_meta, model.loaded.model
    assert meta.name == "actsim/tiny-encoder"
    assert meta.embed_dim == model.encode(BATCHES).shape[1] == model.encoder.width
    assert meta.n_parameters == sum(p.numel() for p in inner.parameters())
    assert meta.n_embedding_parameters == inner.get_input_embeddings().weight.numel()
    assert meta.memory_usage_mb == pytest.approx(4 * meta.n_parameters / 2**20)
    assert meta.max_tokens == 20
    assert not hasattr(model, "predict")
    default = integration.described("sentence-transformers/all-MiniLM-L6-v2")
    assert (default.name, default.license) == ("actsim/all-MiniLM-L6-v2", "apache-2.0")
    assert default.adapted_from == "sentence-transformers/all-MiniLM-L6-v2"


def test_revisions_follow_from_weights_settings_and_version(mteb, folder, tmp_path, monkeypatch):
    registered = mteb.get_model_meta("actsim/tiny-encoder").revision
    plain = mteb.get_model("actsim/tiny-encoder", device="cpu").mteb_model_meta
    assert plain.revision == registered
    different = [{"kind": "rows"}, {"layers": "last"}, {"dim": 7}, {"dim": None}, {"seed": 1}, {"max_tokens": 9}]
    different += [{"pattern": "signed-weighted"}, {"dtype": "bfloat16"}]
    found = [mteb.get_model("actsim/tiny-encoder", **given).mteb_model_meta.revision for given in different]
    assert len({registered, *found}) == 1 + len(different)
    assert mteb.get_model("actsim/tiny-encoder", kind="columns").mteb_model_meta.revision == registered
    other = tiny_models.save(tmp_path / "tiny-encoder", "bert", seed=5)
    assert integration.described(str(other)).revision != registered
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    assert integration.described(str(folder)).revision != registered


def test_the_cache_keeps_models_of_different_settings_apart(mteb, folder, tmp_path):
    cache = mteb.ResultCache(tmp_path)
    task, _ = stock_sts(mteb)
    first, second = (mteb.get_model("actsim/tiny-encoder", layers=layers) for layers in ("1", "3"))
    scores = [scores_of(mteb, model, task, cache) for model in (first, second, first)]
    assert scores[0]["main_score"] == pytest.approx(scores[2]["main_score"], abs=1e-6)  # mteb stores six decimals
    assert scores[0]["main_score"] != pytest.approx(scores[1]["main_score"], abs=1e-3)
    kept = [cache.load_task_result("STSBenchmark", model.mteb_model_meta).get_score() for model in (first, second)]
    assert kept == [pytest.approx(scores[i]["main_score"], abs=1e-6) for i in (0, 1)]


def test_registering_twice_is_no_error_and_another_base_of_that_name_is(mteb, folder, tmp_path):
    from mteb.models.model_implementations import MODEL_REGISTRY

    integration.register(models=[str(folder)])
    before = dict(MODEL_REGISTRY)
    other = tiny_models.save(tmp_path / "tiny-encoder", "bert", seed=5)
    with pytest.raises(UsageError, match="has a model 'actsim/tiny-encoder' already"):
        integration.register(models=[str(other)])
    assert before == MODEL_REGISTRY
    with pytest.raises(ModelError, match="not found"):
        integration.register(models=["nobody/no-such-model"])


def test_a_loaded_model_is_taken_as_it_is(mteb):
    loaded = tiny_models.loaded("bert", dtype=torch.bfloat16)
    model = integration.ActSimEncoder(loaded, layers="last")
    wide = integration.ActSimEncoder(tiny_models.loaded("bert"), layers="last")
    vectors = model.encode(BATCHES)
    assert vectors.dtype == torch.float32
    assert ((vectors * wide.encode(BATCHES)).sum(dim=1) > 0.99).all()
    assert model.mteb_model_meta.revision != wide.mteb_model_meta.revision
    with pytest.raises(UsageError, match="loaded already"):
        integration.ActSimEncoder(loaded, dtype="float64")


def test_empty_texts_are_zero_vectors_and_similar_to_nothing(mteb, folder):
    model = mteb.get_model("actsim/tiny-encoder")
    vectors = model.encode([{"text": ["", TEXTS[0], "  "]}])
    assert vectors.norm(dim=1).tolist() == [0, pytest.approx(1), 0]
    assert model.similarity(vectors, vectors)[0].tolist() == [0, 0, 0]
    assert model.similarity_pairwise(vectors, vectors).tolist() == [0, pytest.approx(1), 0]


def test_a_value_that_is_not_finite_is_an_error(mteb):
    loaded = tiny_models.loaded(
        "bert", change=lambda m: m.encoder.layer[2].output.dense.weight.data.fill_(float("nan"))
    )
    with pytest.raises(NumericError, match="text"):
        integration.ActSimEncoder(loaded).encode(BATCHES)


def test_what_it_cannot_do_is_refused(mteb, folder):
    with pytest.raises(UsageError, match=r"unknown setting of ActSimEncoder 'layer'.*'layers'"):
        mteb.get_model("actsim/tiny-encoder", layer="last")
    model = mteb.get_model("actsim/tiny-encoder")
    with pytest.raises(UsageError, match="precision must be float32, got 'int8'"):
        model.encode(BATCHES, precision="int8")
    with pytest.raises(DataError, match="has no texts, only image"):
        model.encode([{"image": []}])


def test_the_command_line_registers_the_models_that_it_is_given(mteb, folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "mteb.cli.main", lambda: seen.append((list(sys.argv), mteb.get_model_meta("actsim/tiny-encoder")))
    )
    before = list(sys.argv)
    integration.run_command_line(["run", "-m", f"actsim/{folder}", "-t", "STSBenchmark"], ["kind=rows", "dim=50"])
    ((arguments, meta),) = seen
    assert arguments == ["actsim mteb", "run", "-m", "actsim/tiny-encoder", "-t", "STSBenchmark"]
    assert meta.loader_kwargs == {"base": str(folder), "base_revision": None, "kind": "rows", "dim": 50}
    assert mteb.get_model("actsim/tiny-encoder").mteb_model_meta.revision == meta.revision
    assert sys.argv == before


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["run", "-m", "a/b"], ["kind=rows"], "arguments name none"),
        (["run", "-m", "actsim/x"], ["kind"], "as NAME=VALUE"),
        (["run", "-m", "actsim/x"], ["dim=ten"], "'ten' is no number"),
        (["run", "-m", "actsim/x"], ["knd=rows"], "Did you mean 'kind'"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(mteb, arguments, settings, message):
    with pytest.raises(UsageError, match=message):
        integration.run_command_line(arguments, settings)


def test_a_task_that_mteb_does_not_know_is_one_line_that_names_ours(mteb, folder):
    with pytest.raises(UsageError, match=r"mteb: .*NoSuchTask.*tasks of actsim: ActSimSTSB, ActSimSICKR"):
        integration.run_command_line(["run", "-m", f"actsim/{folder}", "-t", "NoSuchTask"])


def test_a_model_that_needs_the_hub_is_one_line_that_says_what_does_not(mteb, monkeypatch):
    def unreachable():
        raise OSError("We couldn't connect to the hub.")

    monkeypatch.setattr("mteb.cli.main", unreachable)
    with pytest.raises(ModelError, match=r"couldn't connect to the hub\. Without the hub, actsim/<base model>"):
        integration.run_command_line(["run", "-m", "someone/model", "-t", "ActSimSTSB"])
