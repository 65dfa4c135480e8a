"""Runs side by side: names that tell them apart, rows that all of them have."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fabricated_runs import config, fabricated_run

from actsim.errors import DataError, UsageError
from actsim.studies.alignment import common_rows, run_keys, run_labels

GOLD = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.5])


def run_over(directory, rows, gold=GOLD, **changes):
    rows = list(rows)
    scores = np.array(rows, dtype=float)[:, None] * [1.0, 2.0]
    return fabricated_run(directory, scores, gold[rows], rows=rows, **changes)


def test_keys_are_letters_as_in_a_spreadsheet():
    keys = run_keys(704)
    assert keys[:3] == ["A", "B", "C"]
    assert (keys[25], keys[26], keys[51], keys[52], keys[701], keys[702]) == ("Z", "AA", "AZ", "BA", "ZZ", "AAA")
    assert len(set(keys)) == 704


def labels_of(*configs):
    return run_labels(configs, [f"runs/{number}" for number in range(len(configs))])


def test_models_are_called_by_the_last_part_of_their_name_unless_two_share_it():
    first, second, third = ({"name": name} for name in ("a/llama", "b/llama", "a/bert"))
    assert labels_of(config(model=first), config(model=third)) == ["llama", "bert"]
    assert labels_of(config(model=first), config(model=second)) == ["a/llama", "b/llama"]


def test_objective_and_pattern_are_named_where_runs_differ_in_them():
    labels = labels_of(config(), config(objective="next-token"), config(pattern="signed-weighted"))
    assert labels == [
        "model, nll, absolute-weighted",
        "model, next-token, absolute-weighted",
        "model, nll, signed-weighted",
    ]


def test_what_else_tells_two_runs_apart_is_named():
    assert labels_of(config(max_tokens=64), config()) == ["model, max tokens 64", "model, max tokens 512"]
    assert labels_of(config(template="<plain>"), config()) == ["model, template <plain>", "model"]
    revisions = [config(model={"revision": digit * 40}) for digit in "12"]
    assert labels_of(*revisions) == ["model, revision 11111111", "model, revision 22222222"]
    assert labels_of(config(batch_tokens=64), config()) == ["model, batch tokens 64", "model, batch tokens 1024"]
    assert labels_of(config(), config()) == ["model, in runs/0", "model, in runs/1"]


def test_no_two_labels_are_alike():
    choices = itertools.product(("a/m", "b/m", "a/k"), ("nll", "next-token"), (64, 512), ("1" * 40, "2" * 40))
    configs = [
        config(model={"name": name, "revision": revision}, objective=objective, max_tokens=tokens)
        for name, objective, tokens, revision in choices
    ]
    assert len(set(labels_of(*configs, configs[0]))) == len(configs) + 1


def test_common_rows_are_found_wherever_they_stand(tmp_path):
    runs = [run_over(tmp_path / "a", [0, 1, 2, 4]), run_over(tmp_path / "b", [4, 5, 2, 1])]
    found = common_rows(runs, ["A", "B"])
    assert found.frame["row"].tolist() == [1, 2, 4]
    assert found.frame["gold"].tolist() == GOLD[[1, 2, 4]].tolist()
    assert found.totals == (4, 4)
    for run, where in zip(runs, found.positions, strict=True):
        assert run.pairs["row"].to_numpy()[where].tolist() == [1, 2, 4]
        assert run.layer_scores("cosine").to_numpy()[where, 0].tolist() == [1, 2, 4]


def test_the_sentences_come_from_whichever_run_keeps_them(tmp_path):
    runs = [run_over(tmp_path / str(n), range(6), texts=texts) for n, texts in enumerate((False, True, False))]
    assert common_rows(runs, ["A", "B", "C"]).frame["sentence_b"][3] == "the second of 3"
    assert "sentence_b" not in common_rows([runs[0], runs[2]], ["A", "B"]).frame.columns


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"name": "other"}, "the data set of A is made-up (6 rows), that of B is other (5 rows)"),
        ({"split": "train"}, "the split of A is test (6 rows), that of B is train (5 rows)"),
        ({"release": "hub"}, "the release of A is None (6 rows), that of B is hub (5 rows)"),
    ],
)
def test_other_data_is_refused_with_the_numbers_of_rows(tmp_path, data, line):
    runs = [run_over(tmp_path / "a", range(6)), run_over(tmp_path / "b", range(5), settings=config(data=data))]
    with pytest.raises(UsageError) as caught:
        common_rows(runs, ["A", "B"])
    assert line in str(caught.value)


def test_rows_of_one_name_with_other_gold_scores_are_refused(tmp_path):
    changed = GOLD.copy()
    changed[[1, 3]] += 0.5
    runs = [run_over(tmp_path / "a", range(6)), run_over(tmp_path / "b", range(1, 6), gold=changed)]
    with pytest.raises(DataError, match="of 5 rows that both have, 2 have different gold scores"):
        common_rows(runs, ["A", "B"])


def test_rows_of_one_name_with_other_sentences_are_refused(tmp_path):
    runs = [run_over(tmp_path / "a", range(6)), run_over(tmp_path / "b", range(6))]
    runs[1].pairs.loc[2, "sentence_a"] = "something else"
    with pytest.raises(DataError, match="of 6 rows that both have, 1 have different sentences"):
        common_rows(runs, ["A", "B"])


def test_too_few_common_rows_are_refused_with_their_numbers(tmp_path):
    runs = [run_over(tmp_path / "a", [0, 1, 2, 3]), run_over(tmp_path / "b", [3, 4, 5])]
    with pytest.raises(DataError, match=r"1 row in common \(A has 4, B has 3\), and a correlation needs at least 3"):
        common_rows(runs, ["A", "B"])


def test_common_rows_of_one_gold_score_are_refused(tmp_path):
    gold = np.array([1.0, 1.0, 1.0, 1.0, 2.0, 3.0])
    runs = [run_over(tmp_path / "a", range(6), gold=gold), run_over(tmp_path / "b", range(4), gold=gold)]
    with pytest.raises(DataError, match=r"the 4 rows .* all have the gold score 1"):
        common_rows(runs, ["A", "B"])
