"""The pairs of a run, one by one: where the scores and the human scores disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from actsim.report.wording import Row
from actsim.store import PairScores

if TYPE_CHECKING:
    import pandas as pd

SCORE_DECIMALS = 5
SENTENCES = ("sentence_a", "sentence_b")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairTable:
    """Columns of equal length, one value per pair in the order of the data.

    Attributes:
        ids: as they are in the data.
        sentences: both sentences of every pair; None where they are hidden or were not stored.
        gold: human scores.
        scores: scores of the headline; NaN where undefined.
        difference: rank of the score minus rank of the gold score, see ``rank_difference``.
    """

    ids: Sequence[str]
    sentences: tuple[Sequence[str], Sequence[str]] | None
    gold: Floats
    scores: Floats
    difference: Floats

    def __len__(self) -> int:
        return len(self.ids)

    def columns(self) -> dict[str, Any]:
        """JSON-ready columns, numbers rounded to what is shown and a little more; an undefined one is None."""
        columns: dict[str, Any] = {"id": list(self.ids)}
        if self.sentences is not None:
            columns["a"], columns["b"] = (list(side) for side in self.sentences)
        return columns | {
            "gold": rounded(self.gold),
            "score": rounded(self.scores),
            "difference": rounded(self.difference, 1),
        }


def pair_table(scores: PairScores, pairs: pd.DataFrame, summary: Row, *, keep_text: bool = True) -> PairTable:
    """The pairs with the scores behind the headline.

    Args:
        scores: of the run.
        pairs: id, gold and, unless they were left out, the sentences, as ``Run.pairs``.
        summary: its ``headline`` measure and ``band`` say which score.
        keep_text: False hides the sentences.
    """
    gold = pairs["gold"].to_numpy(dtype=np.float64)
    values = scores.band_scores(summary["headline"]["measure"], summary["band"]["layers"])
    stored = keep_text and set(SENTENCES) <= set(pairs.columns)
    return PairTable(
        ids=[str(value) for value in pairs["id"]],
        sentences=(pairs[SENTENCES[0]].tolist(), pairs[SENTENCES[1]].tolist()) if stored else None,
        gold=gold,
        scores=values,
        difference=rank_difference(values, gold),
    )


def rank_difference(scores: Floats, gold: Floats) -> Floats:
    """Rank of the score minus rank of the gold score, ranks from 1 for the lowest, ties at their mean.

    Positive where the score is higher than human judgement would have it. Only pairs with a defined score are ranked;
    the others are NaN.
    """
    known = np.isfinite(scores)
    difference = np.full(len(scores), np.nan)
    difference[known] = rankdata(scores[known]) - rankdata(gold[known])
    return difference


def rounded(values: npt.ArrayLike, decimals: int = SCORE_DECIMALS) -> list[Any]:
    """The values as JSON numbers of at most that many decimals, whole ones without a point, NaN as None."""
    return [_shortest(value) for value in np.round(np.asarray(values, dtype=np.float64), decimals).tolist()]


def _shortest(value: float) -> float | int | None:
    if not np.isfinite(value):
        return None
    return int(value) if value == int(value) else value
