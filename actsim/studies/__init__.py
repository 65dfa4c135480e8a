"""What joins several pipelines: evaluate and report, compare."""

import re
from pathlib import Path

REPORTS = Path("reports")
"""Where runs and comparisons are written when no directory is given."""


def default_path(what: str, model: str, digest: str) -> Path:
    """``reports/<what>-<model>-<first eight digits of the digest>``, in letters that every file system takes.

    Args:
        what: the study.
        model: its name, of which the last part is taken.
        digest: of the configuration.
    """
    return REPORTS / re.sub(r"[^A-Za-z0-9._-]+", "_", f"{what}-{model.rpartition('/')[2]}-{digest[:8]}")
