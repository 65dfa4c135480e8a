"""Capture: the traces are the gradients, the model is left as it was, and what is not finite is named."""

from __future__ import annotations

import weakref

import pytest
import tiny_models
import tiny_traces
import torch
from torch import nn
from toy_target import VOCABULARY, batch_of, gradients, squares, toy

from actsim.core.batch import Batch, pad
from actsim.core.capture import GradientOverflow, capture_linears
from actsim.core.linears import LinearMap
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import run_pass
from actsim.core.scoring import Pattern, reference
from actsim.core.trace import Joined, Trace
from actsim.errors import ModelError, NumericError

SIGNED_GRADIENT = Pattern(absolute=False, weighted=False)


def collect(target, batch: Batch, **options) -> dict[str, Trace]:
    traces: dict[str, Trace] = {}

    def keep(trace: Trace) -> None:
        assert trace.map.name not in traces
        traces[trace.map.name] = trace

    run_pass(target, batch, squares, keep, **options)
    return traces


def assert_traces_are_gradients(target, batch: Batch, traces: dict[str, Trace]) -> None:
    for sentence in range(len(batch.labels)):
        for name, want in gradients(target, batch, sentence).items():
            if name in traces:
                got = reference.pattern_of(traces[name], sentence, SIGNED_GRADIENT)
                torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
            else:
                assert not want.any()


CHAINS = {
    "one after the other": lambda m, x: m["b"](torch.tanh(m["a"](x))),
    "one map twice": lambda m, x: m["b"](m["a"](torch.tanh(m["a"](x)))),
    "one map three times, one use without effect": lambda m, x: m["b"](m["a"](x)) + m["a"](x) + 0 * m["a"](-x),
    "one use cut off": lambda m, x: m["b"](m["a"](x)) + m["a"](2 * x).detach(),
    "side by side": lambda m, x: m["a"](x) * m["b"](x),
    "output changed in place": lambda m, x: m["b"](m["a"](x).mul_(2).add_(1)),
    "first output changed through a view": lambda m, x: m["b"](in_place_view(m["a"](x))),
    "flattened rows": lambda m, x: m["b"](m["a"](x.reshape(-1, x.shape[2]))).reshape(x.shape),
    "input by keyword": lambda m, x: m["b"](input=torch.tanh(m["a"](input=x))),
    "no effect at all": lambda m, x: m["a"](x) + m["b"](x).detach(),
}


def in_place_view(states: torch.Tensor) -> torch.Tensor:
    half = states[..., :3]
    half /= 2
    return states


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS)
def test_traces_are_the_gradients_of_each_sentence(steps):
    target, batch = toy(("a", "b"), steps), batch_of(4, 1, 3)
    assert_traces_are_gradients(target, batch, collect(target, batch))


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS)
def test_a_power_of_two_in_front_of_the_read_out_is_divided_out(steps):
    target, batch = toy(("a", "b"), steps), batch_of(4, 1, 3)
    plain, scaled = collect(target, batch), collect(target, batch, scale=2.0**12)
    assert plain.keys() == scaled.keys()
    for name, trace in plain.items():
        for one, other in zip(trace.operands(), scaled[name].operands(), strict=True):
            assert torch.equal(one.inputs, other.inputs) and torch.equal(one.grads, other.grads)


def test_a_parameter_is_handed_on_once_its_last_use_has_its_gradient():
    target = toy(("a", "b"), lambda m, x: m["a"](torch.tanh(m["b"](torch.tanh(m["a"](x))))))
    arrived = []
    run_pass(target, batch_of(3), squares, lambda trace: arrived.append((trace.map.kind, trace.lengths[0])))
    assert arrived == [("b", 3), ("a", 6)]


def test_padding_has_no_gradient():
    loaded = tiny_models.loaded("bert")
    batch = pad([(2, 7, 8, 9, 10), (2, 7)], ["long", "short"], pad_token=loaded.pad_token)
    traces: list[Trace] = []
    run_pass(loaded, batch, OBJECTIVES["encoder"].get("embedding-norm"), traces.append)
    assert len(traces) == len(loaded.maps)
    for trace in traces:
        (segment,) = trace.segments
        assert segment.lengths == (5, 2)
        assert not segment.grads[1, 2:].any()
        assert segment.grads[0].any() and segment.grads[1, :2].any()


def state_of(model: nn.Module) -> list:
    hooks = [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks), module.training)
        for name, module in model.named_modules()
    ]
    parameters = [(name, p.requires_grad, p.grad is None, p._version) for name, p in model.named_parameters()]
    return [hooks, parameters]


class StopHere(Exception):
    """Raised by a handler."""


@pytest.mark.parametrize("fail_at", ["never", "handler", "objective"])
@pytest.mark.parametrize("family", ["llama", "bert", "deberta_v2"])
def test_the_model_is_left_as_it_was_found(family, fail_at):
    loaded = tiny_models.loaded(family)
    before = state_of(loaded.model)
    weights = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    batch = pad([(2, 7, 8), (2, 9)], ["a", "b"], pad_token=loaded.pad_token)
    default = OBJECTIVES[loaded.family].get(next(iter(OBJECTIVES[loaded.family])))

    def handler(_trace: Trace) -> None:
        if fail_at == "handler":
            raise StopHere

    def objective(target, batch):
        readout = default(target, batch)
        if fail_at == "objective":
            raise StopHere
        return readout

    if fail_at == "never":
        run_pass(loaded, batch, objective, handler, hidden=True)
    else:
        with pytest.raises(StopHere):
            run_pass(loaded, batch, objective, handler, hidden=True)
    assert state_of(loaded.model) == before
    assert all(torch.equal(value, weights[name]) for name, value in loaded.model.state_dict().items())
    assert torch.is_grad_enabled()


def test_a_training_flag_is_not_changed():
    loaded = tiny_models.loaded("llama")
    loaded.model.train()
    batch = pad([(2, 7, 8)], ["a"], pad_token=0)
    run_pass(loaded, batch, OBJECTIVES["causal"].get("nll"), lambda trace: None)
    assert all(module.training for module in loaded.model.modules())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_taken_where_the_caller_has_turned_them_off(mode):
    target, batch = toy(("a", "b"), CHAINS["one after the other"]), batch_of(4, 1, 3)
    with mode():
        traces = collect(target, batch)
        assert not torch.is_grad_enabled()
    assert set(traces) == {"maps.a", "maps.b"}
    assert_traces_are_gradients(target, batch, traces)


def test_nothing_is_traced_where_the_model_itself_takes_no_gradient():
    def steps(m, x):
        with torch.no_grad():
            m["b"](x)
        return m["a"](x)

    target, batch = toy(("a", "b"), steps), batch_of(2, 3)
    assert set(collect(target, batch)) == {"maps.a"}


def test_traces_are_released_as_they_are_consumed():
    loaded = tiny_models.loaded("llama")
    batch = pad([(2, 7, 8, 9), (2, 9)], ["a", "b"], pad_token=0)
    alive: list[weakref.ref] = []
    seen = []

    def handler(trace: Trace) -> None:
        seen.append(sum(reference() is not None for reference in alive))
        alive.append(weakref.ref(trace))

    run_pass(loaded, batch, OBJECTIVES["causal"].get("nll"), handler)
    assert seen == [0] * len(loaded.maps)
    assert all(reference() is None for reference in alive)


def test_an_input_that_is_overwritten_after_use_is_refused():
    """No version check of autograd's own applies where weights need no gradient: the trace would be wrong, silently."""

    def steps(m, x):
        states = torch.tanh(m["a"](x))
        after = m["b"](states)
        states += 1
        return after + states

    with pytest.raises(ModelError, match=r"maps\.b: .*overwrites the input"):
        collect(toy(("a", "b"), steps), batch_of(3, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("family", "layer", "module"), [("llama", 2, "mlp.up_proj"), ("bert", 3, "output.dense")])
def test_a_weight_that_is_not_finite_is_named(family, layer, module, value):
    def spoil(model) -> None:
        with torch.no_grad():
            (weight,) = (p for n, p in model.named_parameters() if n.endswith(f".{layer - 1}.{module}.weight"))
            weight[0, 0] = value

    loaded = tiny_models.loaded(family, change=spoil)
    batch = pad([(2, 7, 8), (2, 9)], ["first sentence", "second sentence"], pad_token=0)
    objective = OBJECTIVES[loaded.family].get(next(iter(OBJECTIVES[loaded.family])))
    pattern = rf"first sentence: layer {layer}, module \S+{layer - 1}\.{module}: the output is not finite"
    with pytest.raises(NumericError, match=pattern):
        run_pass(loaded, batch, objective, lambda trace: None)


def test_the_sentence_that_is_not_finite_is_named_not_its_neighbours():
    target, batch = toy(("a", "b"), CHAINS["one after the other"]), batch_of(2, 3, 2)
    with torch.no_grad():
        target.model.embedding.weight[batch.input_ids[2, 0]] = float("inf")
        assert int(batch.input_ids[2, 0]) not in batch.input_ids[:2].flatten().tolist()
    with pytest.raises(NumericError, match=r"^s2: layer 1, module maps\.a: the output"):
        collect(target, batch)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, GradientOverflow), (torch.float32, NumericError)])
def test_a_gradient_that_is_not_finite_is_named_and_only_in_float16_called_overflow(dtype, error):
    target, batch = toy(("a", "b"), lambda m, x: m["b"](torch.tanh(m["a"](x)))), batch_of(2, 3)
    target.model.to(dtype)
    with pytest.raises(NumericError, match=r"^s0: layer 1, module maps\.b: the gradient is not finite") as caught:
        collect(target, batch, scale=float("inf"))
    assert type(caught.value) is error


def test_rows_that_cannot_be_told_apart_by_sentence_are_refused_in_a_batch_only():
    target = toy(("a", "b"), lambda m, x: m["b"](m["a"](x.transpose(0, 1)).transpose(0, 1)))
    with pytest.raises(ModelError, match=r"maps\.a: rows of shape \(3, 2, 6\).*2 x 3 tokens.*one sentence at a time"):
        collect(target, batch_of(3, 3))
    alone = batch_of(3)
    assert_traces_are_gradients(target, alone, collect(target, alone))


def test_one_sentence_may_bring_more_rows_than_tokens():
    """DeBERTa's relative positions go through the same map as the tokens do."""
    positions = torch.linspace(-1, 1, 5 * 6, dtype=torch.float64).reshape(1, 5, 6)
    target = toy(("a", "b"), lambda m, x: m["b"](m["a"](x)) + m["a"](positions).sum(dim=1, keepdim=True))
    batch = batch_of(3)
    traces = collect(target, batch)
    assert traces["maps.a"].segments[0].inputs.shape == (1, 8, 6)
    assert_traces_are_gradients(target, batch, traces)


def test_traces_of_several_passes_are_joined_in_order_and_a_part_without_a_use_has_no_rows():
    linear = LinearMap("map", nn.Linear(2, 3), 1, "q")
    arrived: list[Trace] = []
    joined = Joined(arrived.append, (1, 2, 1), last=2)
    full = {rows: (torch.full((1, rows, 2), float(rows)), torch.full((1, rows, 3), float(rows))) for rows in (2, 3)}
    joined.take(0, tiny_traces.trace_of(linear, *full[2], scale=4.0))
    assert not arrived
    joined.take(2, tiny_traces.trace_of(linear, *full[3], scale=4.0))
    (trace,) = arrived
    assert trace.lengths == (2, 0, 0, 3) and trace.sentences == 4 and trace.scale == 4.0
    assert [trace.sentence(index)[0][:, 0].tolist() for index in range(4)] == [[2, 2], [], [], [3, 3, 3]]
    joined.take(0, trace)
    joined.flush()
    assert len(arrived) == 2 and arrived[1].lengths[-1] == 0


def test_hooks_are_gone_when_the_body_of_the_with_fails():
    linear = LinearMap("map", nn.Linear(2, 3), 1, "q")
    with pytest.raises(StopHere), capture_linears([linear], batch_of(2), lambda trace: None):
        assert len(linear.module._forward_hooks) == 1
        raise StopHere
    assert not linear.module._forward_hooks


def test_the_toy_vocabulary_holds_every_token():
    assert int(batch_of(9, 9, 9).input_ids.max()) < VOCABULARY


@pytest.mark.parametrize("objective", ["next-token", "nll"])
def test_a_read_out_of_one_position_leaves_one_row_in_most_maps_of_the_last_block(objective):
    """Rank one where D sees the last token alone; keys and values, other blocks and nll keep all rows."""
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    batch = pad([(2, 7, 8, 9), (2, 9)], ["a", "b"], pad_token=loaded.pad_token)
    traces: list[Trace] = []
    run_pass(loaded, batch, OBJECTIVES["causal"].get(objective), traces.append)
    single = {(trace.map.layer, trace.map.kind) for trace in traces if trace.lengths == (1, 1)}
    last = {(loaded.n_layers, kind) for kind in ("q", "o", "gate", "up", "down")}
    assert single == (last if objective == "next-token" else set())
    assert len(traces) == len(loaded.maps)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_outputs_computed_again_are_those_of_the_module(family):
    """Of Conv1D, which stores the weight the other way round, with a bias and without one."""
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    for linear in loaded.maps:
        inputs = torch.randn(2, 3, linear.weight.shape[1], dtype=torch.float64)
        torch.testing.assert_close(linear.outputs(inputs), linear.module(inputs), rtol=1e-12, atol=1e-12)
