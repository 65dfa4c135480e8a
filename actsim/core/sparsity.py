"""How sparse each block becomes: pure functions from what is known of the blocks to one sparsity for each.

Arrays are over the blocks in order, the first is block 1. m_i is the number of prunable parameters of block i, S the
target, S_i the sparsity of block i; whatever the allocation, Σ m_i S_i = S Σ m_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actsim.errors import NumericError, UsageError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Allocation:
    """The sparsity of each block.

    Attributes:
        sparsities: S_i, each in [0, 1].
        sizes: m_i.
        clipped: what was beyond 0 or 1 before it was clipped and what was lost there shared out among the others.
    """

    sparsities: Floats
    sizes: Floats
    clipped: npt.NDArray[np.bool_]

    @property
    def overall(self) -> float:
        """Σ m_i S_i / Σ m_i."""
        return weighted_mean(self.sparsities, self.sizes)


def weighted_mean(values: Floats, sizes: Floats) -> float:
    """Σ m_i v_i / Σ m_i."""
    return float(sizes @ values / sizes.sum())


def uniform(sizes: Floats, target: float) -> Allocation:
    """S_i = S."""
    return _settled(np.full(len(sizes), target), sizes, target)


def progression(sizes: Floats, target: float, delta: float) -> Allocation:
    """S_i linear in depth from S - δ to S + δ, all moved by one amount where blocks of unequal size ask for it.

    Raises:
        UsageError: δ is not finite.
    """
    _check_finite("--delta", delta)
    return _settled(target + delta * np.linspace(-1.0, 1.0, len(sizes)), sizes, target)


def activation(shares: Floats, sizes: Floats, target: float, *, alpha: float, beta: float) -> Allocation:
    """Denser blocks are pruned less: Wang et al. 2024 (arXiv 2405.17799), for blocks of unequal size too.

    With N_i the share of activated parameters, and mean and population standard deviation weighted by m_i:

        z_i = (N_i - mean N) / std N + α / i        n_i = 1 / (1 + exp(-z_i))
        S_i = S + β S (1 - n_i Σ m_j / Σ m_j n_j)

    Blocks of equal size have the published formula, in which N may be counts. Where all N_i are equal, z_i = α / i.

    Args:
        shares: N_i.
        sizes: m_i.
        target: S.
        alpha, beta: as above.

    Raises:
        NumericError: a share is not finite.
        UsageError: α or β is not finite.
    """
    _check_profile(shares)
    for name, value in (("--alpha", alpha), ("--beta", beta)):
        _check_finite(name, value)
    deviation = shares - weighted_mean(shares, sizes)
    spread = np.sqrt(weighted_mean(np.square(deviation), sizes))
    standardised = np.zeros_like(shares) if are_equal(shares) or spread == 0 else deviation / spread
    importance = 1.0 / (1.0 + np.exp(-(standardised + alpha / np.arange(1, len(shares) + 1))))
    relative = importance / weighted_mean(importance, sizes)
    return _settled(target + beta * target * (1.0 - relative), sizes, target)


def owl(outliers: Floats, sizes: Floats, target: float, *, width: float) -> Allocation:
    """Blocks with more outliers keep more: Yin et al. 2024, OWL (arXiv 2310.05175).

    Args:
        outliers: the share of a block's scores above M times their mean, see ``core.wanda.outlier_share``.
        sizes: m_i.
        target: S.
        width: λ; 1 - S_i are the shares scaled to a width of 2λ, then moved to their target.

    Raises:
        NumericError: a share is not finite.
        UsageError: λ is negative or not finite.
    """
    return _kept_in_proportion(outliers, sizes, target, width)


def dlp(medians: Floats, sizes: Floats, target: float, *, width: float) -> Allocation:
    """Blocks with a smaller median score keep more: Chen et al. 2025, DLP (arXiv 2505.23807).

    v_i = 1 - u_i / Σ u_j with u_i the median of a block's scores, then as ``owl``.

    Args:
        medians: u_i, see ``core.wanda.median_score``.
        sizes: m_i.
        target: S.
        width: λ.

    Raises:
        NumericError: a median is not finite, or all are zero.
        UsageError: λ is negative or not finite.
    """
    _check_profile(medians)
    if medians.sum() == 0:
        raise NumericError("the median score of every block is zero: dlp has nothing to go by; use another allocation.")
    return _kept_in_proportion(1.0 - medians / medians.sum(), sizes, target, width)


def planned(sparsities: Floats, sizes: Floats) -> Allocation:
    """Sparsities as they are given.

    Raises:
        UsageError: one is outside of [0, 1]; names the block.
    """
    for block, sparsity in enumerate(sparsities.tolist(), start=1):
        if not 0 <= sparsity <= 1:
            raise UsageError(f"layer {block}: the plan's sparsity is {sparsity}; it has to be between 0 and 1.")
    return Allocation(sparsities, sizes, np.zeros(len(sizes), dtype=np.bool_))


def are_equal(profile: Floats) -> bool:
    """Whether a profile says nothing: all of its values are equal, up to the rounding of their mean."""
    return bool(np.ptp(profile) <= 1e-12 * np.abs(profile).max())


def _kept_in_proportion(profile: Floats, sizes: Floats, target: float, width: float) -> Allocation:
    """1 - S_i = the profile scaled to a width of 2λ and moved; equal where the profile is."""
    _check_profile(profile)
    _check_finite("--lambda", width)
    if width < 0:
        raise UsageError(f"--lambda must be at least 0, got {width}.")
    scaled = np.zeros_like(profile) if are_equal(profile) else (profile - profile.min()) / np.ptp(profile) * 2 * width
    return _settled(-scaled, sizes, target)


def _settled(wanted: Floats, sizes: Floats, target: float) -> Allocation:
    """The allocation clip(wanted_i + c, 0, 1) with the one c for which its mean is the target.

    Σ m_i clip(wanted_i + c, 0, 1) grows with c and is linear between the places at which a block reaches 0 or 1, so
    c is found by interpolation between two of them. Where nothing is clipped, c moves every block alike.

    Raises:
        UsageError: the target is outside of [0, 1).
    """
    if not 0 <= target < 1:
        raise UsageError(f"--sparsity must be at least 0 and below 1, got {target}.")
    knees = np.sort(np.concatenate([-wanted, 1.0 - wanted]))
    reached = np.array([weighted_mean(np.clip(wanted + knee, 0.0, 1.0), sizes) for knee in knees])
    shift = float(np.interp(target, reached, knees))
    moved = wanted + shift
    beyond = (moved < -_ROUNDING) | (moved > 1 + _ROUNDING)
    return Allocation(np.clip(moved, 0.0, 1.0), sizes, beyond)


_ROUNDING = 1e-12


def _check_profile(profile: Floats) -> None:
    if not np.isfinite(profile).all():
        block = int(np.flatnonzero(~np.isfinite(profile))[0]) + 1
        raise NumericError(f"layer {block}: the profile's value is {profile[block - 1]}; use --dtype float32.")


def _check_finite(option: str, value: float) -> None:
    if not np.isfinite(value):
        raise UsageError(f"{option} must be a finite number, got {value}.")
