"""Pairs as a Dataset and back: nothing is lost, and rows from elsewhere are checked like those of a file."""

from __future__ import annotations

from dataclasses import replace

import datasets
import pytest
import tiny_pairs

from actsim.data.hf import as_dataset, pairs_of_dataset
from actsim.errors import DataError


def test_pairs_come_back_as_they_were_one_part_after_the_other():
    one = tiny_pairs.pair_set(tiny_pairs.PAIRS[:3])
    other = replace(tiny_pairs.pair_set(tiny_pairs.PAIRS[3:]), split="rest")
    found = pairs_of_dataset(as_dataset([one, other]), "tiny", "whole")
    whole = tiny_pairs.pair_set()
    assert (found.sentences_a, found.sentences_b) == (whole.sentences_a, whole.sentences_b)
    assert found.gold.tolist() == [*one.gold, *other.gold]
    assert (found.name, found.split, found.ids[:4]) == ("tiny", "whole", ("all p0", "all p1", "all p2", "rest p0"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"score": None}, "tiny test: no column 'score'; found sentence1, sentence2"),
        ({"sentence2": ["a dog", "", "a cat"]}, "tiny test: data row 2: the second sentence .* is empty"),
        ({"sentence1": ["a dog", None, "a cat"]}, "tiny test: data row 2: the first sentence .* is missing"),
        ({"score": [1.0, float("nan"), 2.0]}, "tiny test: data row 2: the gold score .* not a finite number"),
    ],
)
def test_rows_that_are_unfit_are_named(change, text):
    columns = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "score": [0.0, 1.0, 2.0]} | change
    dataset = datasets.Dataset.from_dict({name: values for name, values in columns.items() if values is not None})
    with pytest.raises(DataError, match=text):
        pairs_of_dataset(dataset, "tiny", "test")


def test_without_ids_the_row_number_is_the_id():
    columns = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "score": [0, 1, 2]}
    found = pairs_of_dataset(datasets.Dataset.from_dict(columns), "tiny", "test")
    assert found.ids == ("0", "1", "2") and found.gold.tolist() == [0, 1, 2]
