"""Resumable results: parts in parquet, written atomically, and a manifest.

``RunStore`` writes a run, ``open_run`` reads a finished one over sentence pairs, ``PairScores`` turns the rows of
either into arrays; ``TableLayout`` describes the parts of other runs, which ``open_table`` reads.
"""

from actsim.store.reading import Run, TableRun, open_run, open_table, study_in
from actsim.store.scores import PairScores
from actsim.store.tables import Column, TableLayout
from actsim.store.writing import RunStore, replace_files

__all__ = [
    "Column",
    "PairScores",
    "Run",
    "RunStore",
    "TableLayout",
    "TableRun",
    "open_run",
    "open_table",
    "replace_files",
    "study_in",
]
