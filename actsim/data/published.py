"""Published figures that results are set beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DOMAIN_SOURCE = "Llama-2-7B, layers 17 to 30 of 32, next-token read-out (Wang et al. 2024, arXiv 2405.17799)"

DOMAINS = ("boolq", "c4", "gsm8k", "hellaswag", "humaneval", "mmlu", "piqa", "siqa", "wikitext2")

_COSINES = """
.44 .16 .23 .29 .16 .26 .29 .29 .16
.16 .14 .16 .17 .12 .15 .15 .16 .14
.23 .16 .36 .27 .19 .23 .26 .24 .17
.29 .17 .27 .80 .21 .63 .32 .57 .17
.16 .12 .19 .21 .72 .18 .16 .17 .12
.26 .15 .23 .63 .18 .70 .28 .57 .16
.29 .15 .26 .32 .16 .28 .51 .31 .15
.29 .16 .24 .57 .17 .57 .31 .77 .16
.16 .14 .17 .17 .12 .16 .15 .16 .16
"""


def published_domains(names: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Mean cosines of the activation patterns of data sets as published, see DOMAIN_SOURCE.

    Args:
        names: domains, in any order.

    Returns:
        Those of ``names`` that are in the table, in their order, and its rows and columns for them.
    """
    table = np.array([[float(cell) for cell in line.split()] for line in _COSINES.strip().splitlines()])
    known = [name for name in names if name in DOMAINS]
    rows = [DOMAINS.index(name) for name in known]
    return known, table[np.ix_(rows, rows)]
