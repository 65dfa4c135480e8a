"""The bundled sample: what its README says is what its file holds."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from actsim.baselines import word_overlap
from actsim.data.corpora import CORPORA, SAMPLE_PREFIX
from actsim.data.domains import load_domain
from actsim.data.files import read_table
from actsim.data.pairs import load_pairs

FOLDER = Path(str(resources.files("actsim.data.sample")))
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def scorings() -> tuple[np.ndarray, np.ndarray]:
    table = read_table(FOLDER / "pairs.jsonl")
    return np.array(table.columns["score_1"], dtype=float), np.array(table.columns["score_2"], dtype=float)


def test_the_readme_states_the_agreement_of_the_two_scorings() -> None:
    first, second = scorings()
    difference = np.abs(first - second)
    kappa = cohen_kappa_score((2 * first).astype(int), (2 * second).astype(int), weights="quadratic")
    figures = [
        f"{stats.spearmanr(first, second).statistic:.3f}",
        f"{stats.pearsonr(first, second).statistic:.3f}",
        f"{kappa:.3f}",
        f"{100 * np.mean(difference == 0):.1f} %",
        f"{100 * np.mean(difference <= 0.5):.1f} %",
        f"{difference.mean():.3f}",
    ]
    assert f"| {' | '.join(figures)} |" in README


def test_the_score_is_the_mean_of_the_two_scorings() -> None:
    first, second = scorings()
    np.testing.assert_array_equal(load_pairs("sample").gold, (first + second) / 2)


def test_every_level_is_well_filled_and_counted_in_the_readme() -> None:
    counts = Counter(np.floor(load_pairs("sample").gold + 0.5).astype(int).tolist())
    assert min(counts[level] for level in range(6)) >= 25
    assert f"0 to 5: {', '.join(str(counts[level]) for level in range(6))}." in README


def test_word_overlap_is_the_readmes_and_far_from_perfect() -> None:
    pairs = load_pairs("sample")
    rho = stats.spearmanr(word_overlap(pairs.sentences_a, pairs.sentences_b), pairs.gold).statistic
    assert f"{rho:.3f}" in README
    assert rho < 0.6


def test_no_sentence_stands_twice() -> None:
    pairs = load_pairs("sample")
    sentences = [*pairs.sentences_a, *pairs.sentences_b]
    assert len(sentences) == 2 * len(pairs) == len(set(sentences)) >= 400


@pytest.mark.parametrize("name", [name for name in CORPORA if name.startswith(SAMPLE_PREFIX)])
def test_a_domain_of_the_sample_has_sixteen_texts_of_a_paragraph(name: str) -> None:
    domain = load_domain(name)
    assert len(domain) == sum(CORPORA[name].splits.values()) == 16 and domain.repeated == 0
    words = [len(re.findall(r"\w+", text)) for text in domain.texts]
    assert min(words) >= 40 and max(words) <= 120
    assert f"`{name.removeprefix(SAMPLE_PREFIX)}`" in README


def test_two_domains_of_the_sample_share_more_words_than_others_do() -> None:
    names = [name for name in CORPORA if name.startswith(SAMPLE_PREFIX)]
    words = {name: set(re.findall(r"\w+", " ".join(load_domain(name).texts).lower())) for name in names}
    shared = {(a, b): len(words[a] & words[b]) / len(words[a] | words[b]) for a, b in itertools.combinations(names, 2)}
    assert max(shared, key=shared.__getitem__) == ("sample:recipes", "sample:repairs")
