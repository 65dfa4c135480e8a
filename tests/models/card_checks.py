"""Models spread over two devices, and models on a device without float64, held against the same model on the CPU.

Run by test_placement.py in a process of its own, which gets a made-up device, see ``fake_cards``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import accelerate
import fake_cards
import numpy as np
import pytest
import tiny_models
import tiny_pairs
import tiny_samples
import torch
from accelerate.hooks import remove_hook_from_module
from torch import nn
from transformers import PreTrainedModel

from actsim.config import Scoring
from actsim.core import precision, wanda
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import run_pass
from actsim.core.trace import Trace
from actsim.errors import ModelError, UsageError
from actsim.models import placement
from actsim.models.devices import move, resolve_dtype
from actsim.models.layers import find_blocks
from actsim.models.loading import LoadedModel, wrap_model
from actsim.models.tokenise import sentence_batch
from actsim.pipelines.pruning import Cut, PrunedBlock, prune_by_inputs, prune_by_scores, wanda_profile
from actsim.pipelines.similarity import fingerprint
from actsim.pipelines.sts import prepare, score_batch
from actsim.studies.evaluate import Statistics, evaluate

fake_cards.register()

SAMPLES = tiny_samples.samples_of("tales", [tuple(range(first, first + 10)) for first in range(5, 35, 5)])

CARD, CPU = fake_cards.NAME, "cpu"
LAYOUTS = {
    "deep half on the card": (CPU, (CPU, CARD, CARD), CPU),
    "deep half on the CPU": (CARD, (CARD, CPU, CPU), CARD),
    "to and fro": (CPU, (CARD, CPU, CARD), CPU),
    "last on another device than the head": (CPU, (CPU, CPU, CPU), CARD),
}
"""Device of the embeddings, of the three blocks, and of what follows them."""

EVERYTHING = {"measures": ("cosine", "ruzicka", "jaccard", "overlap"), "top_fraction": 0.05}
CASES = [
    ("mistral", "next-token", {}),
    ("mistral", "nll", EVERYTHING),
    ("gpt2", "log-prob", {}),
    ("opt", "log-sum-exp", {}),
    ("bert", "embedding-norm", EVERYTHING),
    ("deberta_v2", "embedding-norm", {}),
]


def spread(model: PreTrainedModel, layout: tuple[str, tuple[str, ...], str], **options: object) -> PreTrainedModel:
    """The model laid out by accelerate: embeddings, blocks, the rest."""
    first, middle, last = layout
    blocks = find_blocks(model)
    block_of = dict(zip((name for name, _ in blocks), middle, strict=True))
    after = ("norm", "ln_f", "final_layer_norm", "lm_head", "pooler")
    devices: dict[str, str] = {}

    def lay(module: nn.Module, name: str) -> None:
        if name in block_of:
            devices[name] = block_of[name]
        elif any(block.startswith(f"{name}.") or not name for block in block_of):
            for child_name, child in module.named_children():
                lay(child, f"{name}.{child_name}" if name else child_name)
        else:
            devices[name] = last if name.rpartition(".")[2] in after else first

    lay(model, "")
    return accelerate.dispatch_model(
        model, devices, main_device="cpu", skip_keys=model._skip_keys_device_placement, **options
    )


def untied(name: str) -> PreTrainedModel:
    return tiny_models.build(name, tie_word_embeddings=False)


def wrapped(model: PreTrainedModel, name: str) -> LoadedModel:
    return wrap_model(model, tiny_models.tokenizer(), name=f"tiny-{name}")


def scored(loaded: LoadedModel, scoring: Scoring) -> dict[str, torch.Tensor]:
    """Every column of every pair; of a few where sentences run one at a time."""
    pairs = tiny_pairs.PAIRS if loaded.batchable else tiny_pairs.PAIRS[:3]
    job = prepare(loaded, tiny_pairs.pair_set(pairs), scoring)
    columns: dict[str, list] = {}
    for part in job.parts:
        for batch in part:
            for name, values in score_batch(job, batch).to_pydict().items():
                columns.setdefault(name, []).extend(values)
    return {
        name: torch.tensor([[torch.nan if cell is None else cell for cell in row] for row in values])
        if isinstance(values[0], list)
        else torch.tensor(values)
        for name, values in columns.items()
    }


def assert_same_scores(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-6, atol=1e-6, equal_nan=True, msg=name)


@pytest.mark.parametrize(
    ("name", "objective", "changes", "layout"),
    [*((*CASES[0], layout) for layout in LAYOUTS), *((*case, "to and fro") for case in CASES[1:])],
)
def test_a_spread_model_scores_as_a_whole_one(name, objective, changes, layout):
    scoring = Scoring(objective=objective, max_tokens=32, **changes)
    expected = scored(wrapped(untied(name), name), scoring)
    loaded = wrapped(spread(untied(name), LAYOUTS[layout]), name)
    assert {str(linear.parameter.device) for linear in loaded.maps} == set(LAYOUTS[layout][1])
    assert_same_scores(scored(loaded, scoring), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ids_go_to_the_embedding_and_traces_stay_with_their_maps(layout):
    model = spread(untied("mistral"), LAYOUTS[layout])
    loaded = wrapped(model, "mistral")
    seen: list[str] = []

    def note(_module: nn.Module, _args: tuple, kwargs: dict) -> None:
        seen.extend(str(kwargs[name].device) for name in ("input_ids", "attention_mask"))

    model.register_forward_pre_hook(note, with_kwargs=True)

    def check(trace: Trace) -> None:
        tensors = [part for segment in trace.segments for part in (segment.inputs, segment.grads)]
        assert {tensor.device for tensor in tensors} == {trace.map.parameter.device}, trace.map.name
        seen.append(trace.map.name)

    scoring = loaded.default_scoring()
    batch = sentence_batch(loaded, tiny_models.SENTENCES, scoring)
    run_pass(loaded, batch, OBJECTIVES["causal"].get(scoring.objective), check, hidden=True)
    assert loaded.device == LAYOUTS[layout][0]
    assert seen[:2] == [loaded.device, loaded.device]
    assert set(seen[2:]) == {linear.name for linear in loaded.maps}


def test_the_device_notices_inputs_that_are_sent_to_the_wrong_block():
    loaded = wrapped(spread(untied("mistral"), LAYOUTS["to and fro"]), "mistral")
    remove_hook_from_module(loaded.blocks[1])
    with pytest.raises(RuntimeError, match="on the same device"):
        scored(loaded, loaded.default_scoring())


def test_the_layout_is_recorded_and_not_part_of_the_configuration(tmp_path):
    whole, parts = (
        wrapped(untied("mistral"), "mistral"),
        wrapped(spread(untied("mistral"), LAYOUTS["deep half on the card"]), "mistral"),
    )
    runs = [
        evaluate(
            tiny_pairs.pair_set(), loaded, statistics=Statistics(resamples=20), out=tmp_path / str(number), report=False
        )
        for number, loaded in enumerate((whole, parts))
    ]
    assert runs[0].manifest["digest"] == runs[1].manifest["digest"]
    records = [run.manifest["record"] for run in runs]
    assert [record["device"] for record in records] == [CPU, CPU]
    assert records[0]["device_map"] == {}
    assert records[1]["device_map"] == {
        "model.embed_tokens": CPU,
        "model.layers.0": CPU,
        "model.layers.1": CARD,
        "model.layers.2": CARD,
        "model.norm": CPU,
        "lm_head": CPU,
    }


def test_a_block_on_two_devices_is_refused():
    model = untied("mistral")
    devices = {"": CPU, "model.layers.1.mlp": CARD}
    accelerate.dispatch_model(model, devices, main_device="cpu")
    with pytest.raises(ModelError, match=r"layer 2 .* lies on card:0 and cpu"):
        wrapped(model, "mistral")


def test_offloaded_weights_are_refused():
    model = untied("mistral")
    devices = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), CARD)
    accelerate.dispatch_model(model, {**devices, "model.layers": CPU})
    with pytest.raises(ModelError, match=r"are offloaded, first model\.layers\.0.*--device cpu"):
        wrapped(model, "mistral")


def prune(loaded: LoadedModel, score: str) -> tuple[PrunedBlock, ...]:
    cut = Cut(np.array([0.3, 0.5, 0.62]), None)
    if score == "magnitude":
        return prune_by_scores(loaded, wanda.magnitudes, cut)
    return prune_by_inputs(loaded, SAMPLES, cut, batch_tokens=20)


@pytest.mark.parametrize("score", ["wanda", "magnitude"])
@pytest.mark.parametrize("name", ["mistral", "gpt2", "opt", "bert"])
def test_blocks_that_go_to_the_card_are_pruned_alike_and_come_back(name, score):
    whole = wrapped(untied(name), name)
    loaded = replace(wrapped(untied(name), name), block_device=CARD)
    assert prune(loaded, score) == prune(whole, score)
    for found, wanted in zip(loaded.model.parameters(), whole.model.parameters(), strict=True):
        assert found.device.type == CPU
        assert torch.equal(found, wanted)


def test_one_block_at_a_time_is_on_the_card_also_for_a_profile():
    loaded = replace(wrapped(untied("mistral"), "mistral"), block_device=CARD)
    seen: list[tuple[str, int]] = []

    def note(block: nn.Module, *_args: object) -> None:
        places = [str(next(own.parameters()).device) for own in loaded.blocks]
        seen.append((str(next(block.parameters()).device), places.count(CARD)))

    for block in loaded.blocks:
        block.register_forward_pre_hook(note)
    profile = wanda_profile(loaded, SAMPLES, wanda.median_score, batch_tokens=20)
    prune(loaded, "wanda")
    batches, blocks = 3, 3
    assert seen.count((CARD, 1)) == 3 * blocks * batches
    assert set(seen) == {(CARD, 1), (CPU, 0)}
    whole = wanda_profile(wrapped(untied("mistral"), "mistral"), SAMPLES, wanda.median_score, batch_tokens=20)
    assert profile == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("wanted", "free", "found"),
    [(None, 2**40, ""), (None, 2**30, CARD), (True, 2**40, CARD), (False, 2**30, "")],
)
def test_memory_decides_where_nothing_is_said(monkeypatch, wanted, free, found):
    monkeypatch.setattr(placement, "free_memory", lambda _device: free)
    moved: list[object] = []
    monkeypatch.setattr(placement, "move", lambda _model, place: moved.append(place))
    device, notes = placement.settle(untied("mistral"), torch.device(CARD), wanted)
    assert device == found
    assert moved == ([] if found else [torch.device(CARD)])
    assert ["1.0 GiB are free there" in note for note in notes] == ([wanted is None] if found else [])


@pytest.fixture
def card_without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The card stands for mps."""
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", (fake_cards.KIND,))
    fake_cards.refused_types.add(torch.float64)
    yield
    fake_cards.refused_types.clear()


@pytest.mark.usefixtures("card_without_float64")
@pytest.mark.parametrize(
    ("name", "objective", "changes"),
    [*CASES, ("bert", "embedding-norm", {"measures": ("jaccard",), "gamma": 1e-3})],
)
def test_a_device_without_float64_gives_the_same_scores(name, objective, changes):
    scoring = Scoring(objective=objective, max_tokens=32, **changes)
    expected = scored(wrapped(untied(name), name), scoring)
    loaded = wrapped(spread(untied(name), (CARD, (CARD,) * 3, CARD), force_hooks=True), name)
    assert loaded.devices == (CARD,)
    assert_same_scores(scored(loaded, scoring), expected)


@pytest.mark.usefixtures("card_without_float64")
def test_fingerprints_need_no_float64_on_the_device():
    expected = fingerprint(tiny_models.SENTENCES[:2], wrapped(untied("bert"), "bert"))
    loaded = wrapped(spread(untied("bert"), (CARD, (CARD,) * 3, CARD), force_hooks=True), "bert")
    for found, wanted in zip(fingerprint(tiny_models.SENTENCES[:2], loaded), expected, strict=True):
        for layer, sums in wanted.layers.items():
            torch.testing.assert_close(found.layers[layer], sums, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("card_without_float64")
def test_float64_models_are_refused_on_a_device_without_it():
    with pytest.raises(UsageError, match="float64 does not exist on card"):
        resolve_dtype("float64", torch.device(CARD))
    with pytest.raises(ModelError, match=r"is float64, which card does not have; pass --dtype float32"):
        move(untied("bert").double(), torch.device(CARD))
