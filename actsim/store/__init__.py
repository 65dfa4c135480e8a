"""Resumable results: score parts in parquet, written atomically, and a manifest.

``RunStore`` writes a run, ``open_run`` reads a finished one, ``PairScores`` turns the rows of either into arrays.
"""

from actsim.store.reading import Run, open_run
from actsim.store.scores import PairScores
from actsim.store.writing import RunStore, replace_files

__all__ = ["PairScores", "Run", "RunStore", "open_run", "replace_files"]
