"""Every file of the report of a run over domains."""

from __future__ import annotations

from actsim.report.domain_tables import domain_csvs
from actsim.report.wording import Row


def domain_files(summary: Row, manifest: Row, *, report: bool = True) -> dict[str, bytes]:
    """File name -> content."""
    return domain_csvs(summary)
