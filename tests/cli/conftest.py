"""What the tests of the command line share: a way to call it, tiny models on disk, and pairs in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
from click.testing import CliRunner, Result
from huggingface_hub import constants
from pair_files import made_up_pairs, write_csv, write_jsonl

from actsim_cli.main import actsim


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs go into a directory of the test's own; neither the machine's data nor its hub cache nor the hub is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTSIM_DATA_DIR", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    return tmp_path


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Run a command line in this process."""

    def call(*args: object) -> Result:
        return CliRunner().invoke(actsim, [str(arg) for arg in args])

    return call


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder."""
    return tiny_models.save(tmp_path_factory.mktemp("models") / "tiny-bert", "bert")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny causal language model."""
    return tiny_models.save(tmp_path_factory.mktemp("models") / "tiny-llama", "llama")


@pytest.fixture(scope="session")
def pairs_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs in a csv file whose columns have known names."""
    return write_csv(tmp_path_factory.mktemp("data") / "pairs.csv", made_up_pairs(12))


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with made-up copies of two splits of STS-B."""
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "stsb").mkdir()
    write_jsonl(folder / "stsb" / "validation.jsonl", made_up_pairs(15, seed=1))
    write_jsonl(folder / "stsb" / "test.jsonl", made_up_pairs(12, seed=2))
    return folder
