"""What joins several pipelines: evaluate and report, compare."""

from pathlib import Path

REPORTS = Path("reports")
"""Where runs and comparisons are written when no directory is given."""
