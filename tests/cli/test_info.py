"""``actsim info``: the description of a model, and the check of the estimate where it is asked for."""

from __future__ import annotations

import json

import pytest

from actsim.models.loading import load_model
from actsim.pipelines.inspect_model import describe_model
from actsim.report.terminal import ESTIMATES


def plain(value):
    return json.loads(json.dumps(value))


def test_json_is_the_description_of_the_library(invoke, llama):
    result = invoke("info", llama, "--json")
    assert json.loads(result.stdout) == plain(describe_model(load_model(llama)).to_dict())


def test_the_text_shows_maps_parameters_and_costs(invoke, llama):
    description = describe_model(load_model(llama))
    text = invoke("info", llama).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"{count:,}" in text for count in (description.scored_parameters, description.total_parameters))
    for kind in description.layers[0].kinds:
        assert any(line.split()[-1:] == [f"{kind.parameters:,}"] and kind.kind in line for line in text.splitlines())
    assert "1-3" in text


def test_options_reach_the_description(invoke, llama):
    document = json.loads(
        invoke("info", llama, "--objective", "nll", "--tokens", 9, "--batch-tokens", 90, "--json").stdout
    )
    assert (document["objective"], document["flops"]["tokens"], document["memory"]["sentences"]) == ("nll", 9, 10)


def test_the_estimate_is_checked_in_float64_unless_a_type_is_given(invoke, bert):
    options = ("--check-estimate", "--text", "the old dog sleeps", "--weights", 6, "--neurons", 3, "--json")
    document = json.loads(invoke("info", bert, *options).stdout)
    check = document["estimate_check"]
    assert (document["dtype"], check["dtype"], check["texts"]) == ("float32", "float64", 1)
    assert (check["weights_per_layer"], check["neurons_per_layer"], len(check["layers"])) == (6, 3, 3)
    given = json.loads(invoke("info", bert, *options, "--dtype", "float32").stdout)
    assert given["estimate_check"]["dtype"] == "float32"


def test_the_seed_draws_the_sample(invoke, bert):
    options = ("--check-estimate", "--weights", 6, "--neurons", 3, "--json")
    first, again, other = (json.loads(invoke("info", bert, *options, "--seed", seed).stdout) for seed in (1, 1, 2))
    assert first == again
    assert first["estimate_check"]["layers"] != other["estimate_check"]["layers"]


def test_the_check_is_shown_by_layer(invoke, bert):
    options = ("--check-estimate", "--text", "the old dog sleeps", "--weights", 6, "--neurons", 3)
    check = json.loads(invoke("info", bert, *options, "--json").stdout)["estimate_check"]
    table = invoke("info", bert, *options).stdout.partition("when a weight")[2]
    lines = {words[0]: words for words in map(str.split, table.splitlines()) if words}
    for row in [*check["layers"], check["overall"]]:
        shown = [f"{row[key][figure]:.3f}" for key in ESTIMATES for figure in ("spearman", "ratio_median")]
        assert lines["all" if row["layer"] is None else str(row["layer"])][1:] == shown


def test_the_source_is_said_once(invoke, bert):
    result = invoke("info", bert)
    assert (result.stdout + result.stderr).count("model from the folder") == 1


def test_the_estimates_are_explained(invoke, bert):
    options = ("--check-estimate", "--text", "the old dog sleeps", "--weights", 2, "--neurons", 2)
    lines = invoke("info", bert, *options).stdout.splitlines()
    assert "neurons, sum |.|: Σ |w ∂D/∂w| of the same rows, added up as the scores do" in lines


@pytest.mark.parametrize("option", [("--text", "a dog"), ("--weights", "5"), ("--neurons", "5"), ("--seed", "1")])
def test_options_of_the_check_are_refused_without_it(invoke, bert, option):
    result = invoke("info", bert, *option, "-q")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"actsim: error: {option[0]} acts together with --check-estimate only; give that too, or leave it out.\n"
    )
