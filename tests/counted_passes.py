"""Counts the passes through a model."""

from __future__ import annotations

import pytest

from actsim.core import passes


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of sentences of every pass from now on."""
    run_pass, seen = passes.run_pass, []

    def counted(target, batch, *args, **options):
        seen.append(len(batch.labels))
        return run_pass(target, batch, *args, **options)

    monkeypatch.setattr(passes, "run_pass", counted)
    return seen
