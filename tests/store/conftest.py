"""Fixtures of the store's tests: a finished run to look at, and a copy of it to damage."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for store_runs, which is also a program of its own

from store_runs import score, skip_sync


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", skip_sync)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run that nothing disturbed; tests that change a run make their own."""
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    score(directory)
    return directory


@pytest.fixture
def run(tmp_path, finished) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))
