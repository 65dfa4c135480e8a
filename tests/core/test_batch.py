"""Batches: padding, and which pairs go side by side."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actsim.core.batch import (
    LEAST_PART,
    MOST_PARTS,
    PADDING,
    divide,
    group_batches,
    pad,
    padded_tokens,
    plan_batches,
    plan_sequences,
)

sentences = st.integers(1, 9).flatmap(lambda length: st.tuples(*[st.integers(5, 7)] * length))
pair_lists = st.lists(st.tuples(sentences, sentences), max_size=25)
budgets = st.integers(1, 60)


def test_pad_puts_the_padding_on_the_right_under_a_zero_mask():
    batch = pad([(5, 6, 7), (8,)], ["a", "b"], pad_token=3)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 3, 3]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.valid.tolist() == [[True, True, True], [True, False, False]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.labels == ("a", "b")


@given(st.lists(sentences, min_size=1, max_size=6))
def test_a_sentence_of_a_batch_is_the_sentence_alone(tokens):
    labels = [str(row) for row in range(len(tokens))]
    batch = pad(tokens, labels, pad_token=0)
    for row, own in enumerate(tokens):
        alone, direct = batch.part(row, row + 1), pad([own], [labels[row]], pad_token=0)
        assert torch.equal(alone.input_ids, direct.input_ids)
        assert torch.equal(alone.attention_mask, direct.attention_mask)
        assert alone.labels == direct.labels


@given(pair_lists, budgets)
def test_batches_split_the_pairs_and_name_their_sentences(pairs, budget):
    batches = plan_batches(pairs, budget)
    assert sorted(position for batch in batches for position in batch.pairs) == list(range(len(pairs)))
    for batch in batches:
        assert batch.pairs
        assert [(batch.sentences[a], batch.sentences[b]) for a, b in batch.sides] == [pairs[p] for p in batch.pairs]


@given(pair_lists, budgets)
def test_a_sentence_is_computed_once_in_a_batch(pairs, budget):
    for batch in plan_batches(pairs, budget):
        assert len(set(batch.sentences)) == len(batch.sentences)
        assert {row for sides in batch.sides for row in sides} == set(range(len(batch.sentences)))


@given(pair_lists, budgets)
def test_a_batch_keeps_to_the_budget_unless_one_pair_alone_passes_it(pairs, budget):
    for batch in plan_batches(pairs, budget):
        assert batch.tokens == sum(map(len, batch.sentences))
        assert batch.tokens <= budget or len(batch.pairs) == 1


@given(pair_lists, budgets)
def test_a_batch_is_closed_only_when_the_next_pair_would_pass_the_budget(pairs, budget):
    batches = plan_batches(pairs, budget)
    for batch, following in itertools.pairwise(batches):
        joined = {*batch.sentences, *pairs[following.pairs[0]]}
        assert sum(map(len, joined)) > budget


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), budgets)
def test_lengths_ascend_so_that_little_is_padding(lengths, budget):
    pairs = [((2 * k,) * length, (2 * k + 1,)) for k, length in enumerate(lengths)]
    longest = [max(map(len, pairs[p])) for batch in plan_batches(pairs, budget) for p in batch.pairs]
    assert longest == sorted(longest)


def test_pairs_that_share_sentences_stand_together():
    """Ten chains a-b, b-c, c-d whose pairs are scattered over the data: every sentence is computed once."""
    links = [[(chain, link) for link in range(4)] for chain in range(10)]
    pairs = [(chain[link], chain[link + 1]) for link in range(3) for chain in links]
    batches = plan_batches(pairs, 8 * 2)
    assert len(batches) == 5
    assert sum(len(batch.sentences) for batch in batches) == 40


@given(pair_lists, budgets)
def test_the_plan_is_a_pure_function(pairs, budget):
    assert plan_batches(pairs, budget) == plan_batches(list(pairs), budget)


def test_equal_pairs_stay_in_the_order_of_the_data():
    pair = ((5, 6), (7, 8))
    (batch,) = plan_batches([pair] * 4, 1000)
    assert batch.pairs == (0, 1, 2, 3)
    assert len(batch.sentences) == 2


@given(pair_lists, budgets, st.integers(1, 10))
def test_parts_are_consecutive_batches_of_enough_pairs(pairs, budget, per_part):
    batches = plan_batches(pairs, budget)
    parts = group_batches(batches, per_part)
    assert [batch for part in parts for batch in part] == batches
    for number, part in enumerate(parts):
        counts = [len(batch.pairs) for batch in part]
        assert number == len(parts) - 1 or sum(counts) >= per_part
        assert sum(counts[:-1]) < per_part


@pytest.mark.parametrize("pairs", [[], [((5,), (6,))]])
def test_few_pairs_make_few_batches(pairs):
    assert len(plan_batches(pairs, 1)) == len(pairs)
    assert len(group_batches(plan_batches(pairs, 1), 64)) == len(pairs)


batch_lengths = st.lists(st.integers(1, 60), min_size=1, max_size=60).map(sorted)


def padded(lengths, stops):
    return sum((stop - first) * max(lengths[first:stop]) for first, stop in itertools.pairwise((0, *stops)))


def every_division(lengths):
    """All divisions where the length changes into at most MOST_PARTS parts that are large enough, and none at all."""
    whole = len(lengths)
    changes = [stop for stop in range(1, whole) if lengths[stop] != lengths[stop - 1]]
    yield (whole,)
    for parts in range(2, MOST_PARTS + 1):
        for inner in itertools.combinations(changes, parts - 1):
            stops = (*inner, whole)
            sizes = [(b - a) * max(lengths[a:b]) for a, b in itertools.pairwise((0, *stops))]
            if min(sizes) >= LEAST_PART:
                yield stops


@given(batch_lengths)
def test_a_batch_is_divided_into_few_large_enough_parts(lengths):
    stops = divide(lengths)
    assert stops[-1] == len(lengths) and list(stops) == sorted(set(stops)) and len(stops) <= MOST_PARTS
    parts = [(stop - first) * max(lengths[first:stop]) for first, stop in itertools.pairwise((0, *stops))]
    assert len(parts) == 1 or min(parts) >= LEAST_PART
    assert sum(parts) <= len(lengths) * max(lengths)


@given(st.lists(st.sampled_from([10, 30, 45, 60]), min_size=1, max_size=16).map(sorted))
def test_the_division_has_the_fewest_parts_below_the_padding_or_else_the_least_of_it(lengths):
    found, options = divide(lengths), list(every_division(lengths))
    enough = [stops for stops in options if sum(lengths) > (1 - PADDING) * padded(lengths, stops)]
    if enough:
        assert padded(lengths, found) * (1 - PADDING) < sum(lengths)
        assert len(found) == min(map(len, enough))
    else:
        assert padded(lengths, found) == min(padded(lengths, stops) for stops in options)


def test_pairs_as_long_as_those_of_sts_have_little_padding():
    pairs = [((5,) * a, (6,) * b) for a, b in zip(range(8, 40), range(10, 42), strict=True) for _ in range(40)]
    batches = plan_batches([((*a, n), (*b, n)) for n, (a, b) in enumerate(pairs)], 1024)
    own = sum(len(sentence) for batch in batches for sentence in batch.sentences)
    assert own > (1 - PADDING) * sum(padded_tokens(batch) for batch in batches)


def test_parts_of_a_batch_are_its_sentences_in_order():
    batch = pad([(5,) * 20] * 12 + [(6,) * 50] * 6, [str(n) for n in range(18)], pad_token=0)
    parts = batch.parts()
    assert [part.input_ids.shape for part in parts] == [(12, 20), (6, 50)]
    assert sum((part.labels for part in parts), ()) == batch.labels


@given(st.lists(st.lists(st.integers(5, 9), min_size=1, max_size=12).map(tuple), max_size=12), st.integers(1, 40))
def test_sequences_are_planned_each_once_within_the_budget_and_whatever_their_order(sequences, budget):
    batches = plan_sequences(sequences, budget)
    assert sorted(position for batch in batches for position in batch) == list(range(len(sequences)))
    for batch in batches:
        longest = max(len(sequences[position]) for position in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    turned = [[sequences[::-1][position] for position in batch] for batch in plan_sequences(sequences[::-1], budget)]
    assert turned == [[sequences[position] for position in batch] for batch in batches]
