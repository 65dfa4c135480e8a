"""The configuration's digest and the list of differences stand for the same thing: what changes numbers."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.config import DEFAULT_TOP_FRACTION, MEASURES, PATTERNS, RunConfig, Scoring, differences
from actsim.errors import UsageError

LEAVES = st.sampled_from([None, False, True, 0, 1, 0.0, 1.0, 0.5, "", "1", "é"])
TREES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.lists(LEAVES, max_size=2), max_size=2),
    max_leaves=4,
)


def make_config(**scoring: object) -> RunConfig:
    return RunConfig(
        data={"name": "made-up", "split": "test", "n": 3, "selection": {"limit": 3, "seed": 0}},
        model={"name": "tiny", "revision": None},
        scoring=Scoring(**({"objective": "nll"} | scoring)),
    )


def test_digest_does_not_depend_on_the_order_of_keys():
    config = make_config()
    turned = dataclasses.replace(config, data=dict(reversed(config.data.items())))
    assert list(turned.data) != list(config.data)
    assert turned.digest() == config.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"objective": "next-token"},
        {"pattern": "absolute-gradient"},
        {"measures": ("cosine", "ruzicka")},
        {"measures": ("jaccard",), "gamma": 1e-6},
        {"max_tokens": 511},
        {"batch_tokens": 2048},
        {"dtype": "float16"},
        {"baselines": False},
    ],
)
def test_digest_changes_with_every_scoring_option(change):
    assert make_config(**change).digest() != make_config().digest()


def test_digest_changes_with_data_and_model():
    config = make_config()
    others = [
        dataclasses.replace(config, data=config.data | {"split": "validation"}),
        dataclasses.replace(config, model=config.model | {"revision": "0" * 40}),
    ]
    assert len({config.digest(), *(other.digest() for other in others)}) == 3


def test_order_of_measures_is_part_of_the_digest_because_the_first_is_the_headline():
    digests = {make_config(measures=order).digest() for order in (("cosine", "ruzicka"), ("ruzicka", "cosine"))}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"measures": ("jaccard",), "gamma": 1}, {"measures": ("jaccard",), "gamma": 1.0}),
        ({"measures": ("overlap",), "top_fraction": 1}, {"measures": ("overlap",), "top_fraction": 1.0}),
        ({"measures": ["cosine"]}, {"measures": ("cosine",)}),
        ({"measures": ("jaccard",)}, {"measures": ("jaccard",), "top_fraction": DEFAULT_TOP_FRACTION}),
    ],
)
def test_two_spellings_of_one_setting_have_one_digest(one, other):
    assert make_config(**one) == make_config(**other)
    assert make_config(**one).digest() == make_config(**other).digest()


def test_signed_pattern_accepts_cosine_given_as_a_list():
    assert Scoring("nll", pattern="signed-weighted", measures=["cosine"]).measures == ("cosine",)


def test_digest_of_a_name_with_undecodable_bytes():
    config = dataclasses.replace(make_config(), data={"name": b"caf\xe9.csv".decode(errors="surrogateescape")})
    assert len(config.digest()) == 64


def test_nan_has_no_digest():
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(make_config(), data={"score_range": float("nan")}).digest()


def test_to_dict_is_a_copy_that_json_leaves_as_it_is():
    config = make_config()
    copy = config.to_dict()
    assert json.loads(json.dumps(copy)) == copy
    copy["data"]["selection"]["seed"] = 7
    assert config.data["selection"]["seed"] == 0


def test_differences_name_the_leaf_and_both_values():
    old, new = make_config().to_dict(), make_config(objective="next-token", max_tokens=64).to_dict()
    new["data"]["selection"] = {}
    assert differences(old, new) == [
        "data.selection.limit: 3 -> absent",
        "data.selection.seed: 0 -> absent",
        "scoring.max_tokens: 512 -> 64",
        "scoring.objective: 'nll' -> 'next-token'",
    ]


@given(TREES, TREES)
def test_differences_are_empty_exactly_when_the_json_is_equal(old, new):
    equal = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (differences(old, new) == []) == equal
    assert differences(old, old) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "absolute-wheighted"}, "Did you mean 'absolute-weighted'"),
        ({"measures": ()}, "no measure given"),
        ({"measures": ("cosin",)}, "Did you mean 'cosine'"),
        ({"measures": ("cosine", "cosine")}, "given twice"),
        ({"pattern": "signed-gradient", "measures": ("cosine", "ruzicka")}, "allows the measure cosine only"),
        ({"gamma": 1e-6}, "act on the measures jaccard and overlap"),
        ({"top_fraction": 0.1}, "act on the measures jaccard and overlap"),
        ({"measures": ("jaccard",), "gamma": 1e-6, "top_fraction": 0.1}, "exclude each other"),
        ({"measures": ("jaccard",), "gamma": -1.0}, "gamma must be"),
        ({"measures": ("jaccard",), "gamma": float("nan")}, "gamma must be"),
        ({"measures": ("overlap",), "gamma": float("inf")}, "gamma must be"),
        ({"measures": ("overlap",), "top_fraction": 0.0}, r"--top-fraction must be in \(0, 1\]"),
        ({"measures": ("overlap",), "top_fraction": 1.5}, r"--top-fraction must be in \(0, 1\]"),
        ({"max_tokens": 0}, "--max-tokens must be at least 1, got 0"),
        ({"batch_tokens": -5}, "--batch-tokens must be at least 1, got -5"),
    ],
)
def test_impossible_scoring_is_a_usage_error_of_one_line(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        make_config(**options)
    assert "\n" not in str(caught.value)


def test_zero_gamma_is_allowed_and_replaces_the_default_fraction():
    scoring = Scoring("nll", measures=("jaccard",), gamma=0)
    assert (scoring.gamma, scoring.top_fraction) == (0.0, None)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_two_halves_of_a_pattern_name(pattern):
    scoring = Scoring("nll", pattern=pattern, measures=MEASURES[:1])
    rebuilt = f"{'absolute' if scoring.absolute else 'signed'}-{'weighted' if scoring.weighted else 'gradient'}"
    assert rebuilt == pattern
