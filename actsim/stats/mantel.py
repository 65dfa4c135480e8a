"""Correlations of two symmetric matrices over the same things, and how likely they are when the things are swapped.

The cells of such a matrix are not independent: each thing has a row of them. Mantel's test permutes the things of one
matrix, rows and columns together, and asks how often the correlation comes out as high. Cells are compared by their
ranks (Spearman), since the scales of two similarities have nothing in common.

Sources: Mantel (1967), "The detection of disease clustering and a generalized regression approach", Cancer Research
27, 209-220; Smouse, Long and Sokal (1986), "Multiple regression and correlation extensions of the Mantel test of matrix
correspondence", Systematic Zoology 35, 627-632, for a third matrix held constant.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from actsim.errors import DataError, UsageError

ROUNDING = 1e-12
"""Correlations closer than this are equal: sums in another order differ by less."""


class Mantel(NamedTuple):
    """A correlation of two matrices and its test; NaN where a matrix has equal or undefined cells."""

    rho: float
    p: float
    """One-sided: the share of permutations, the identity among them, whose correlation is at least as high."""
    permutations: int
    """Orders of the things that were tried, the identity among them."""
    exact: bool
    """Whether those are all there are."""


def mantel(
    a: Float[np.ndarray, "things things"],
    b: Float[np.ndarray, "things things"],
    *,
    rng: np.random.Generator,
    permutations: int = 9999,
    diagonal: bool = False,
) -> Mantel:
    """Spearman's ρ of the cells above the diagonal of two symmetric matrices, with the p-value of Mantel's test.

    The null hypothesis is that the names of the things of ``a`` say nothing about those of ``b``: any other order of
    the rows and columns of ``a`` were as likely. Where there are no more orders than ``permutations`` + 1, all of them
    are tried, and p is exact; of n things it cannot be below 1 / n!.

    Args:
        a: symmetric.
        b: symmetric, over the same things.
        rng: draws the orders.
        permutations: how many are drawn.
        diagonal: whether the cells on the diagonal count as well; they stay on it in every order.

    Raises:
        DataError: the matrices are not square, of one size, and symmetric.
        UsageError: ``permutations`` is less than 1.
    """
    return _permuted([a, b], rng, permutations, diagonal)


def partial_mantel(
    a: Float[np.ndarray, "things things"],
    b: Float[np.ndarray, "things things"],
    held: Float[np.ndarray, "things things"],
    *,
    rng: np.random.Generator,
    permutations: int = 9999,
    diagonal: bool = False,
) -> Mantel:
    """``mantel`` with a third matrix c held constant: ρ_ab.c = (ρ_ab − ρ_ac ρ_bc) / √((1 − ρ_ac²) (1 − ρ_bc²)).

    The things of ``a`` are permuted, as in Smouse, Long and Sokal's test: under its null hypothesis ``a`` is unrelated
    to both other matrices. Where ``a`` and ``held`` are related, small p-values are somewhat too frequent.

    Raises:
        DataError: the matrices are not square, of one size, and symmetric.
        UsageError: ``permutations`` is less than 1.
    """
    return _permuted([a, b, held], rng, permutations, diagonal)


def mantel_replicates(
    a: Float[np.ndarray, "resamples things things"],
    b: Float[np.ndarray, "#resamples things things"],
    *,
    diagonal: bool = False,
) -> Float[np.ndarray, " resamples"]:
    """Spearman's ρ of the cells of two stacks of matrices, one by one; ``b`` may be a single matrix."""
    ranks = [cell_ranks(stack[(..., *_cells(a.shape[-1], diagonal))]) for stack in (a, b)]
    return rank_correlation(*ranks)


def _permuted(matrices: list[np.ndarray], rng: np.random.Generator, permutations: int, diagonal: bool) -> Mantel:
    _check(matrices, permutations)
    things = len(matrices[0])
    rows, columns = _cells(things, diagonal)
    orders, exact = drawn_orders(things, permutations, rng)
    first = np.zeros((things, things))
    first[rows, columns] = first[columns, rows] = cell_ranks(matrices[0][rows, columns])
    permuted = first[orders[:, rows], orders[:, columns]]
    others = [cell_ranks(matrix[rows, columns]) for matrix in matrices[1:]]
    found = rank_correlation(permuted, others[0])
    if len(others) == 2:
        with_held, fixed = rank_correlation(permuted, others[1]), float(rank_correlation(*others))
        rest = (1 - with_held**2) * (1 - fixed**2)
        defined = rest > ROUNDING
        found = np.where(defined, found - with_held * fixed, math.nan) / np.sqrt(np.where(defined, rest, 1))
    rho = float(found[0])
    if math.isnan(rho):
        return Mantel(math.nan, math.nan, len(orders), exact)
    return Mantel(rho, float(np.mean(found >= rho - ROUNDING)), len(orders), exact)


def _check(matrices: list[np.ndarray], permutations: int) -> None:
    if permutations < 1:
        raise UsageError(f"permutations must be at least 1, got {permutations}; 9999 is usual.")
    shapes = {matrix.shape for matrix in matrices}
    if len(shapes) > 1 or len(set(matrices[0].shape)) > 1:
        raise DataError(f"matrices must be square and of one size, got {', '.join(map(str, sorted(shapes)))}.")
    for matrix in matrices:
        if not np.allclose(matrix, matrix.T, equal_nan=True):
            raise DataError("a matrix of similarities must be symmetric.")


def drawn_orders(
    things: int, permutations: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "orders things"], bool]:
    """Orders of the things, the identity first, and whether they are all there are."""
    if math.factorial(things) <= permutations + 1:
        return np.array(list(itertools.permutations(range(things)))), True
    drawn = rng.permuted(np.tile(np.arange(things), (permutations, 1)), axis=1)
    return np.concatenate([np.arange(things)[None], drawn]), False


def _cells(things: int, diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(things, 0 if diagonal else 1)


def cell_ranks(cells: Float[np.ndarray, "*stack cells"]) -> Float[np.ndarray, "*stack cells"]:
    """Mid-ranks along the last axis minus their mean; NaN throughout where a cell is NaN."""
    return scipy.stats.rankdata(cells, axis=-1, nan_policy="propagate") - (cells.shape[-1] + 1) / 2


def rank_correlation(x: Float[np.ndarray, "*stack cells"], y: Float[np.ndarray, "*stack cells"]) -> np.ndarray:
    """Pearson's r of centred ranks along the last axis; NaN where one has no variance."""
    norms = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return (x * y).sum(axis=-1) / np.where(norms > 0, norms, math.nan)
