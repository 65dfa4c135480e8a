"""A comparison as a whole: what it returns and writes, which runs it takes, and what it leaves alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from fabricated_runs import config, fabricated_run, three_runs

from actsim.errors import MissingExtraError, UsageError
from actsim.studies.compare import compare

FEW = {"resamples": 200}


@pytest.fixture
def runs(tmp_path):
    return three_runs(tmp_path)[:2]


@pytest.fixture
def undrawn(monkeypatch):
    """Without the figures, which take most of the time."""
    monkeypatch.setattr("actsim.studies.compare.svg", lambda figure, title: "<svg></svg>")
    monkeypatch.setattr("actsim.studies.compare.png", lambda figure, title: b"")


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")))


def test_the_files_say_what_the_document_says(tmp_path):
    found = compare(three_runs(tmp_path), out=tmp_path / "out", **FEW)
    summary = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert summary == found.summary
    assert sorted(summary["files"]) == sorted(path.name for path in (tmp_path / "out").iterdir())
    layers, table = (read_csv(tmp_path / "out" / name) for name in ("layers.csv", "runs.csv"))
    assert layers["spearman"].tolist() == [row["spearman"] for run in summary["runs"] for row in run["layers"]]
    assert table["spearman"].tolist() == [run["headline"]["spearman"] for run in summary["runs"]]
    differences = read_csv(tmp_path / "out" / "differences.csv")
    assert differences["p_holm"].tolist() == [row["p_holm"] for row in summary["differences"]]
    cells = read_csv(tmp_path / "out" / "layer_by_layer.csv").set_index(["a", "b", "layer_a", "layer_b"])["spearman"]
    assert cells["A", "C", 2, 5] == summary["agreements"][1]["layers"][1][4]
    for name in ("curves", "layers_A_B", "layers_A_C", "layers_B_C"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "out" / f"{name}.svg").read_text(encoding="utf-8").count("<svg") == 1


def test_the_pairs_give_the_headline_again(runs, tmp_path, undrawn):
    found = compare(runs, out=tmp_path / "out", **FEW)
    pairs = read_csv(tmp_path / "out" / "pairs.csv")
    for run in found.summary["runs"]:
        rho = scipy.stats.spearmanr(pairs[f"score_{run['key']}"], pairs["gold"]).statistic
        assert rho == pytest.approx(run["headline"]["spearman"], abs=1e-12)
        by_rank = scipy.stats.pearsonr(pairs[f"rank_{run['key']}"], scipy.stats.rankdata(pairs["gold"])).statistic
        assert by_rank == pytest.approx(rho, abs=1e-12)


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    contents = []
    for _ in range(2):
        compare(runs, out=tmp_path / "out", **FEW)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert contents[0] == contents[1]


def test_files_of_an_earlier_comparison_do_not_stay(tmp_path, undrawn):
    runs = three_runs(tmp_path)
    compare(runs, out=tmp_path / "out", **FEW)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    compare(runs[:2], out=tmp_path / "out", **FEW)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "layers_A_B.svg" in names and "layers_A_C.svg" not in names
    assert "notes.txt" in names


@pytest.mark.parametrize(("name", "line"), [("manifest.json", "holds a run"), ("thesis.tex", "holds no comparison")])
def test_a_directory_with_something_else_is_not_touched(runs, tmp_path, name, line):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("{}")
    with pytest.raises(UsageError, match=line):
        compare(runs, out=tmp_path / "out", **FEW)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_the_default_directory_depends_on_what_is_compared(tmp_path, monkeypatch, undrawn):
    runs = three_runs(tmp_path)
    monkeypatch.chdir(tmp_path)
    places = [
        compare(runs, **FEW).directory,
        compare(runs, resamples=300, level=0.9, seed=1).directory,
        compare(runs[:2], **FEW).directory,
        compare(runs, layers="all", **FEW).directory,
    ]
    assert places[0] == places[1]
    assert len(set(places)) == 3
    assert all(place.name.startswith("compare-made-up-test-") for place in places)


def test_each_run_keeps_its_own_band_unless_one_is_asked_for(runs, tmp_path, undrawn):
    own = compare(runs, out=tmp_path / "own", **FEW).summary["runs"]
    asked = compare(runs, out=tmp_path / "asked", layers="last:2", **FEW).summary["runs"]
    assert [run["band"]["layers"] for run in own] == [[3, 4], [4, 5, 6]]
    assert [run["band"]["layers"] for run in asked] == [[3, 4], [5, 6]]


def test_the_first_common_measure_is_compared_or_the_one_asked_for(tmp_path, undrawn):
    rng = np.random.default_rng(0)
    gold = np.round(rng.uniform(0, 5, 30), 1)
    measures = (("cosine", "jaccard", "ruzicka"), ("ruzicka", "jaccard"))
    runs = [
        fabricated_run(tmp_path / str(n), rng.standard_normal((30, 4)), gold, measures=names)
        for n, names in enumerate(measures)
    ]
    assert compare(runs, out=tmp_path / "out", **FEW).summary["measure"] == "jaccard"
    assert compare(runs, measure="ruzicka", out=tmp_path / "out", **FEW).summary["measure"] == "ruzicka"
    with pytest.raises(UsageError, match="unknown measure of all these runs 'cosine'; known: jaccard, ruzicka"):
        compare(runs, measure="cosine", out=tmp_path / "out", **FEW)
    other = fabricated_run(tmp_path / "other", rng.standard_normal((30, 4)), gold, measures=("overlap",))
    with pytest.raises(UsageError, match="A has cosine, jaccard, ruzicka; B has overlap"):
        compare([runs[0], other], out=tmp_path / "out", **FEW)


def test_one_run_or_one_run_twice_is_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="at least two runs, got 1"):
        compare(runs[:1], out=tmp_path / "out", **FEW)
    with pytest.raises(UsageError, match="given twice"):
        compare([*runs, runs[0]], out=tmp_path / "out", **FEW)


def test_rows_are_matched_by_name_not_by_position(runs, tmp_path, undrawn):
    """A run over the rows in reverse is the same run."""
    turned = runs[1]
    backwards = fabricated_run(
        tmp_path / "back",
        turned.layer_scores("cosine").to_numpy()[::-1],
        turned.pairs["gold"].to_numpy()[::-1],
        rows=turned.pairs["row"].tolist()[::-1],
        settings=config(model={"name": "example/back"}),
    )
    found = compare([turned, backwards], out=tmp_path / "out", **FEW).summary
    assert found["differences"][0]["value"] == 0
    assert found["agreements"][0]["spearman"] == pytest.approx(1)


def test_a_missing_package_is_told(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'actsim\[report\]'"):
        compare(runs, out=tmp_path / "out", **FEW)
    assert not (tmp_path / "out").exists()


def test_comparing_finished_runs_needs_no_torch():
    """It is large, and nothing is scored."""
    program = "import sys; import actsim.studies.compare; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
