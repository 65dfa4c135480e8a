"""Scores that need no parameter of a model: which words two texts share, how much their lengths differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

_WORD = re.compile(r"\w+")


def word_overlap(a: Sequence[str], b: Sequence[str]) -> NDArray[np.float64]:
    r"""Jaccard similarity of the sentences' word sets, |A ∩ B| / |A ∪ B|.

    The words of a text are ``set(re.findall(r"\w+", text.lower()))``. Where neither sentence has a word (only signs,
    say) the score is 0.0: there is nothing in common.

    Args:
        a: first sentences, n of them.
        b: second sentences, n of them.

    Returns:
        Scores in [0, 1], shape [n].

    Raises:
        ValueError: the two do not have the same length.
    """
    scores = np.zeros(len(a))
    for row, (left, right) in enumerate(zip(a, b, strict=True)):
        words_a, words_b = set(_WORD.findall(left.lower())), set(_WORD.findall(right.lower()))
        union = len(words_a | words_b)
        scores[row] = len(words_a & words_b) / union if union else 0.0
    return scores


def length_difference(tokens_a: ArrayLike, tokens_b: ArrayLike) -> NDArray[np.float64]:
    """Absolute difference |len(a) - len(b)| of the sentences' lengths in tokens.

    Args:
        tokens_a: number of tokens of the first sentences, shape [n].
        tokens_b: number of tokens of the second sentences, shape [n].

    Returns:
        Differences in tokens, shape [n].

    Raises:
        ValueError: the two do not have the same shape.
    """
    lengths_a, lengths_b = np.asarray(tokens_a, dtype=np.float64), np.asarray(tokens_b, dtype=np.float64)
    if lengths_a.shape != lengths_b.shape:
        raise ValueError(f"token counts of shapes {lengths_a.shape} and {lengths_b.shape}; they must be equal")
    return np.abs(lengths_a - lengths_b)


def tfidf_vectors(texts: Sequence[str]) -> csr_array:
    r"""Word counts weighted by how rare a word is among the texts, one row of length 1 per text.

    The words of a text are ``re.findall(r"\w+", text.lower())``. Of n texts, df of which have a word, it weighs
    ln((1 + n) / (1 + df)) + 1 each time it occurs; rows are then divided by their norm, so that products of rows are
    cosines. A text without a word has a row of zeros, and a cosine of 0 with every text.

    Args:
        texts: n of them.

    Returns:
        float64, shape [n, words], words in order of appearance.

    Source: Spärck Jones (1972), Journal of Documentation 28, 11-21; the form is that of scikit-learn's
    ``TfidfVectorizer`` with this pattern of words.
    """
    columns: dict[str, int] = {}
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]
    cells = [
        (row, columns.setdefault(word, len(columns)), n) for row, own in enumerate(counts) for word, n in own.items()
    ]
    rows, words, values = np.array(cells, dtype=np.int64).reshape(-1, 3).T
    rarity = np.log((1 + len(texts)) / (1 + np.bincount(words, minlength=len(columns)))) + 1
    weights = values * rarity[words]
    norms = np.sqrt(np.bincount(rows, weights=weights**2, minlength=len(texts)))
    return csr_array((weights / norms[rows], (rows, words)), shape=(len(texts), len(columns)))
