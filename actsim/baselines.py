"""Scores that need no parameter of a model: how many words two sentences share, how much their lengths differ."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
