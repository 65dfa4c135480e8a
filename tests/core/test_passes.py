"""A pass: sentences one at a time or side by side, half precision, and read-outs that say nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_models
import torch
import transformers
from toy_target import batch_of, gradients, squares, toy

from actsim.config import Scoring
from actsim.core.batch import pad
from actsim.core.capture import GradientOverflow
from actsim.core.consumers import PairMoments
from actsim.core.measures import cosine
from actsim.core.objectives import CAUSAL_OBJECTIVES, ENCODER_OBJECTIVES, ReadOut
from actsim.core.passes import HALF_SCALES, consume, run_pass
from actsim.core.scoring import Pattern, reference
from actsim.core.trace import Trace
from actsim.errors import NumericError

TOKENS = ((2, 7, 8, 9), (2, 12), (2, 7, 30, 9, 14))
PAIRS = torch.tensor([[0, 1], [0, 2], [1, 2], [1, 1]])
NLL = Scoring("nll", measures=("cosine", "ruzicka"))


def batch_for(loaded):
    return pad(TOKENS, ("a", "b", "c"), pad_token=loaded.pad_token)


def moments_of(loaded) -> PairMoments:
    return PairMoments(loaded.maps, PAIRS, NLL)


def times(factor: float, name: str = "nll"):
    """The objective multiplied by a constant."""

    def objective(target, batch) -> ReadOut:
        return ReadOut(CAUSAL_OBJECTIVES.get(name)(target, batch).values * factor)

    return objective


def used_for_long_sentences_only(maps, states):
    states = torch.tanh(maps["a"](states))
    return maps["b"](states) if states.shape[1] > 2 else states


def test_one_at_a_time_a_map_that_some_sentences_do_not_use_keeps_the_sentences_apart():
    """As the experts of a mixture: the traces of the second sentence must not slip to the first."""
    target, batch = toy(("a", "b"), used_for_long_sentences_only, batchable=False), batch_of(2, 4, 1, 3)
    traces: dict[str, Trace] = {}
    run_pass(target, batch, squares, lambda trace: traces.update({trace.map.name: trace}))
    for sentence in range(4):
        for name, want in gradients(target, batch, sentence).items():
            got = reference.pattern_of(traces[name], sentence, Pattern(absolute=False, weighted=False))
            torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("family", ["llama", "bert", "albert"])
def test_one_at_a_time_leaves_what_a_batch_leaves(family):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    objective = CAUSAL_OBJECTIVES.get("next-token") if family == "llama" else ENCODER_OBJECTIVES.get("embedding-norm")
    batch = batch_for(loaded)
    results = [
        run_pass(replace(loaded, batchable=batchable), batch, objective, lambda trace: None, hidden=True)
        for batchable in (True, False)
    ]
    together, alone = (result.readout for result in results)
    torch.testing.assert_close(together.values, alone.values, rtol=1e-12, atol=0)
    if family == "llama":
        assert torch.equal(together.top_token, alone.top_token)
        torch.testing.assert_close(together.margin, alone.margin, rtol=1e-9, atol=0)
    else:
        torch.testing.assert_close(together.pooled, alone.pooled, rtol=1e-9, atol=1e-12)
    first, second = (result.hidden for result in results)
    assert list(first.mean) == list(second.mean) == list(range(loaded.n_layers))
    for block in first.mean:
        torch.testing.assert_close(first.mean[block], second.mean[block], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(first.last[block], second.last[block], rtol=1e-9, atol=1e-12)


def test_no_hidden_states_unless_asked_for_and_nothing_kept_has_a_graph():
    loaded = tiny_models.loaded("llama")
    result = run_pass(loaded, batch_for(loaded), CAUSAL_OBJECTIVES.get("next-token"), lambda trace: None)
    assert result.hidden is None
    assert not result.readout.values.requires_grad and not result.readout.margin.requires_grad


@pytest.mark.parametrize("exponent", [-20, -1, 1, 7, 20])
def test_a_power_of_two_in_d_changes_no_bit_of_a_score(exponent):
    loaded = tiny_models.loaded("llama")
    scores = [
        cosine(consume(loaded, batch_for(loaded), times(factor), lambda: moments_of(loaded))[0].moments())
        for factor in (1.0, 2.0**exponent)
    ]
    assert torch.equal(scores[0].nan_to_num(2), scores[1].nan_to_num(2))


def float32_truth(factor: float) -> torch.Tensor:
    """Cosines of the float16 weights' model computed in float32."""
    loaded = tiny_models.loaded("llama", dtype=torch.float16)
    loaded.model.float()
    moments = consume(loaded, batch_for(loaded), times(factor), lambda: moments_of(loaded))[0].moments()
    return cosine(moments)


def largest_error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float(((got - want).abs() / want).nan_to_num(1.0)[~want.isnan()].max())


def test_small_float16_gradients_survive_because_d_is_scaled():
    loaded, factor = tiny_models.loaded("llama", dtype=torch.float16), 2.0**-20
    want = float32_truth(factor)
    scaled, _ = consume(loaded, batch_for(loaded), times(factor), lambda: moments_of(loaded))
    unscaled = moments_of(loaded)
    run_pass(loaded, batch_for(loaded), times(factor), unscaled, scale=1.0)
    assert largest_error(cosine(scaled.moments()), want) < 0.02
    assert largest_error(cosine(unscaled.moments()), want) > 0.3


def test_a_float16_overflow_is_repeated_with_a_smaller_scale_and_a_new_consumer():
    loaded, factor = tiny_models.loaded("llama", dtype=torch.float16), 2.0**8
    scales: list[list[float]] = []

    class Recorded(PairMoments):
        def __call__(self, trace: Trace) -> None:
            scales[-1].append(trace.scale)
            super().__call__(trace)

    def make() -> PairMoments:
        scales.append([])
        return Recorded(loaded.maps, PAIRS, NLL)

    consumer, result = consume(loaded, batch_for(loaded), times(factor), make)
    assert [set(seen) for seen in scales[1:]] == [{HALF_SCALES[1]}]
    assert set(scales[0]) <= {HALF_SCALES[0]} and len(scales[0]) < len(loaded.maps)
    assert len(scales[-1]) == len(loaded.maps)
    plain = moments_of(loaded)
    direct = run_pass(loaded, batch_for(loaded), times(1.0), plain, scale=factor * HALF_SCALES[1])
    assert torch.equal(cosine(consumer.moments()).nan_to_num(2), cosine(plain.moments()).nan_to_num(2))
    torch.testing.assert_close(result.readout.values, direct.readout.values * factor)


def test_a_float16_gradient_that_overflows_at_any_scale_is_an_error():
    loaded = tiny_models.loaded("llama", dtype=torch.float16)
    with pytest.raises(GradientOverflow, match=r"^[abc]: layer \d, module \S+: the gradient is not finite"):
        consume(loaded, batch_for(loaded), times(2.0**30), lambda: moments_of(loaded))


def test_other_types_are_not_repeated():
    loaded = tiny_models.loaded("llama", dtype=torch.bfloat16)
    made = []

    def make() -> PairMoments:
        made.append(moments_of(loaded))
        return made[-1]

    with pytest.raises(NumericError):
        consume(loaded, batch_for(loaded), times(float("inf")), make)
    assert len(made) == 1


def test_a_read_out_that_is_not_finite_names_its_sentence():
    loaded = tiny_models.loaded("llama")

    def objective(target, batch) -> ReadOut:
        values = CAUSAL_OBJECTIVES.get("nll")(target, batch).values
        return ReadOut(values / torch.tensor([1.0, 0.0, 1.0]))

    with pytest.raises(NumericError, match=r"^b: the read-out D is inf"):
        run_pass(loaded, batch_for(loaded), objective, lambda trace: None)


def fresh_bert(dtype: torch.dtype, pooling: str):
    """Weights as transformers draws them: every LayerNorm has gain one and no shift."""
    _, _, values = tiny_models.ENCODERS["bert"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.BertModel(transformers.BertConfig(**{**values, "initializer_range": 0.02}))
    modes = tiny_models.Pooling((pooling,))
    return tiny_models.wrap_model(model.to(dtype), tiny_models.tokenizer(), name="fresh", pooling=modes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooling", ["cls", "lasttoken"])
def test_the_norm_of_one_layer_normed_token_of_fresh_weights_is_refused(pooling, dtype):
    loaded = fresh_bert(dtype, pooling)
    objective = ENCODER_OBJECTIVES.get("embedding-norm")
    with pytest.raises(NumericError, match=r"^a: the read-out D = 4\.\d+ hardly depends on the activations"):
        consume(loaded, batch_for(loaded), objective, lambda: moments_of(loaded))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_norm_of_their_mean_is_not(dtype):
    loaded = fresh_bert(dtype, "mean")
    objective = ENCODER_OBJECTIVES.get("embedding-norm")
    consumer, _ = consume(loaded, batch_for(loaded), objective, lambda: moments_of(loaded))
    assert bool((consumer.moments()[:, 0, 0] > 0).all())


def test_a_read_out_is_summed_over_the_batch_not_averaged():
    """The same sentence alone and among others leaves the same moments, not smaller ones."""
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    alone, among = (PairMoments(loaded.maps, torch.tensor([[0, 0]]), NLL) for _ in range(2))
    run_pass(loaded, pad(TOKENS[:1], ["a"], pad_token=0), CAUSAL_OBJECTIVES.get("nll"), alone)
    run_pass(loaded, batch_for(loaded), CAUSAL_OBJECTIVES.get("nll"), among)
    torch.testing.assert_close(alone.moments(), among.moments(), rtol=1e-9, atol=0)


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this build of torch multiplies with oneDNN")
@pytest.mark.parametrize(("dtype", "used"), [(torch.float32, False), (torch.float64, True)])
def test_float32_passes_do_without_onednn_and_leave_it_as_it_was(dtype, used):
    """It keeps the code of every shape it meets, so that memory grew with the number of pairs."""
    target, batch = toy(("a",), lambda maps, states: maps["a"](states)), batch_of(2, 3)
    target.model.to(dtype)
    seen = []

    def stop(_trace: Trace) -> None:
        seen.append(torch.backends.mkldnn.enabled)
        raise KeyboardInterrupt

    assert torch.backends.mkldnn.enabled
    with pytest.raises(KeyboardInterrupt):
        run_pass(target, batch, squares, stop)
    assert seen == [used] and torch.backends.mkldnn.enabled
