"""Figures in the cells of a heat map, in the ink that can be read on their colour."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray

from actsim.report.palette import HEAT_MAP

LINEAR_BELOW, SCALE, SHIFT, GAMMA = 0.04045, 12.92, 0.055, 2.4
WEIGHTS = (0.2126, 0.7152, 0.0722)
GLARE = 0.05
"""The constants of WCAG 2.1's relative luminance and contrast ratio."""


def luminance(colour: tuple[float, ...]) -> float:
    """The relative luminance of an sRGB colour with parts from 0 to 1."""
    parts = np.array(colour[:3])
    linear = np.where(parts <= LINEAR_BELOW, parts / SCALE, ((parts + SHIFT) / (1 + SHIFT)) ** GAMMA)
    return float(linear @ WEIGHTS)


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + GLARE) / (low + GLARE)


def takes_dark_ink(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For every value of a heat map whether black reads better than white on its colour; False where undefined."""
    known = np.isfinite(values)
    if not known.any():
        return known
    low, high = values[known].min(), values[known].max()
    places = (values[known] - low) / (high - low) if high > low else np.zeros(int(known.sum()))
    colours = matplotlib.colormaps[HEAT_MAP.lower()](places)
    dark = np.zeros_like(known)
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    dark[known] = [contrast(tuple(colour), black) > contrast(tuple(colour), white) for colour in colours]
    return dark
