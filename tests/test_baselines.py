from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

from actsim.baselines import length_difference, tfidf_vectors, word_overlap
from actsim.data.pairs import load_pairs

texts = st.lists(st.text(max_size=30), min_size=1, max_size=8)


def test_word_overlap_of_known_pairs() -> None:
    a = ["A dog runs.", "one two", "same words", "snake_case"]
    b = ["a DOG sleeps", "three four", "words, same!", "snake case"]
    np.testing.assert_array_equal(word_overlap(a, b), [2 / 4, 0.0, 1.0, 0.0])


def test_word_overlap_is_zero_where_no_sentence_has_a_word() -> None:
    np.testing.assert_array_equal(word_overlap(["?!", "..."], ["--", "a"]), [0.0, 0.0])


@given(texts)
def test_word_overlap_is_symmetric_bounded_and_ignores_case(a: list[str]) -> None:
    b = a[::-1]
    scores = word_overlap(a, b)
    np.testing.assert_array_equal(scores, word_overlap(b, a))
    assert scores.shape == (len(a),)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_array_equal(scores, word_overlap([text.lower() for text in a], b))


def test_word_overlap_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="shorter"):
        word_overlap(["a", "b"], ["a"])


@given(texts)
def test_tfidf_is_that_of_scikit_learn(a: list[str]) -> None:
    a = [*a, "a dog runs, a dog sleeps", "the dog"]
    want = TfidfVectorizer(token_pattern=r"\w+").fit_transform(a)
    got = tfidf_vectors(a)
    np.testing.assert_allclose((got @ got.T).toarray(), (want @ want.T).toarray(), atol=1e-12)


def test_texts_without_words_have_nothing_in_common() -> None:
    assert not tfidf_vectors(["?!", "..."]).toarray().any()
    assert tfidf_vectors(["?!", "red"]).toarray().tolist() == [[0.0], [1.0]]


def test_length_difference_is_absolute() -> None:
    np.testing.assert_array_equal(length_difference([3, 5, 2], np.array([5, 3, 2])), [2.0, 2.0, 0.0])


def test_length_difference_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        length_difference([1, 2, 3], [1])


@pytest.mark.parametrize(("name", "expected"), [("sts-b", 0.653), ("sick", 0.589)])
def test_word_overlap_reaches_the_known_correlation(data_dir, name: str, expected: float) -> None:
    pairs = load_pairs(name, "validation", data_dir=data_dir)
    scores = word_overlap(pairs.sentences_a, pairs.sentences_b)
    assert round(float(spearmanr(scores, pairs.gold).statistic), 3) == expected
