"""Fixtures shared by all tests, and the run-time check of shapes in signatures."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

if all(importlib.util.find_spec(name) is not None for name in ("jaxtyping", "beartype")):
    from jaxtyping import install_import_hook

    install_import_hook("actsim.core", "beartype.beartype")

# A slow or busy machine is no failure.
settings.register_profile("actsim", deadline=None)
settings.load_profile("actsim")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with local copies of the public data sets; skips where ACTSIM_DATA_DIR does not name one."""
    value = os.environ.get("ACTSIM_DATA_DIR")
    if not value:
        pytest.skip("needs real data: set ACTSIM_DATA_DIR to a folder with stsb/ and sick/")
    folder = Path(value)
    if not folder.is_dir():
        pytest.skip(f"needs real data: ACTSIM_DATA_DIR is {value}, which is not a folder")
    return folder


@pytest.fixture(scope="session")
def models_dir(data_dir: Path) -> Path:
    """The folder with local models, beside the data folder; skips where there is none."""
    folder = data_dir.resolve().parent / "models"
    if not folder.is_dir():
        pytest.skip(f"needs a real model: there is no folder {folder}")
    return folder
