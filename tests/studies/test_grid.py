"""A study loads and draws no more than it needs, holds one model at a time, and goes on from what is stored."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import tiny_models

from actsim.store.cells import CellValues
from actsim.studies import pruning
from actsim.studies.grid import request_study, run_study
from actsim.studies.grid_summary import Intervals
from actsim.studies.study_file import NamedAllocation, Study

FEW = Intervals(resamples=20)


@pytest.fixture
def study(tmp_path):
    """Two seeds of two calibrations, an allocation that goes by a profile, and cells that no calibration touches."""
    notes, tales = tmp_path / "notes.txt", tmp_path / "tales.txt"
    notes.write_text("\n".join(tiny_models.SENTENCES * 4), encoding="utf-8")
    tales.write_text("\n".join(reversed(tiny_models.SENTENCES * 4)), encoding="utf-8")
    return Study(
        model=None,
        scores=("wanda", "magnitude"),
        allocations=(NamedAllocation("uniform"), NamedAllocation("owl")),
        sparsities=(0.5,),
        calibrations=(f"notes={notes}", f"tales={tales}"),
        samples=4,
        seq_len=12,
        seeds=(3, 4),
        perplexity=({"data": str(notes), "context": 16},),
    )


def shortened(study):
    """With one seed of one calibration."""
    return replace(study, calibrations=study.calibrations[:1], seeds=study.seeds[:1])


class Loads:
    """Loads a tiny model, and refuses to while an earlier one is still there."""

    def __init__(self) -> None:
        self.models: list[weakref.ref] = []

    def __call__(self):
        assert [own() for own in self.models if own() is not None] == []
        loaded = tiny_models.loaded("llama")
        self.models.append(weakref.ref(loaded.model))
        return loaded

    @property
    def count(self) -> int:
        return len(self.models)


def run(study, out, loads=None, progress=None):
    return run_study(request_study(study, loads or Loads()), out=out, intervals=FEW, progress=progress)


def interrupt_at(number):
    """A progress that ends the study before that cell."""

    def progress(done, total):
        if done == number:
            raise KeyboardInterrupt

    return progress


def test_the_model_that_is_checked_is_the_first_one_that_is_pruned(study, tmp_path):
    loads, before = Loads(), []
    run(study, tmp_path / "run", loads, lambda done, total: before.append(loads.count))
    dense, first, *others, last = before
    assert (dense, first) == (1, 1)
    assert others == list(range(1, len(others) + 1))
    assert last == loads.count == len(study.cells())


def test_a_study_that_goes_on_loads_a_model_for_every_cell_that_is_missing(study, tmp_path):
    n_cells = len(study.cells())
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "run", progress=interrupt_at(n_cells - 1))
    loads = Loads()
    run(study, tmp_path / "run", loads)
    assert loads.count == 2
    run(study, tmp_path / "run", loads)
    assert loads.count == 3


def test_a_request_can_be_run_again(study, tmp_path):
    loads, study = Loads(), shortened(study)
    request = request_study(study, loads)
    first, second = (run_study(request, out=tmp_path / name, intervals=FEW) for name in ("one", "two"))
    assert first.table == second.table
    assert loads.count == 2 * len(study.cells())


def test_samples_are_drawn_once_for_every_calibration_and_seed(study, tmp_path, monkeypatch):
    draw_samples, drawn = pruning.draw_samples, []

    def counted(domain, loaded, *, seed, **options):
        drawn.append((domain.name, seed))
        return draw_samples(domain, loaded, seed=seed, **options)

    monkeypatch.setattr(pruning, "draw_samples", counted)
    run(study, tmp_path / "run")
    assert sorted(drawn) == [("notes", 3), ("notes", 4), ("tales", 3), ("tales", 4)]


@pytest.mark.parametrize(
    ("number", "computed"),
    [(1, ["activation", "owl"]), (2, ["owl"]), (3, ["owl"]), (4, [])],
    ids=["the dense one is there", "one of activation is there", "both are there", "one of owl is there"],
)
def test_a_profile_is_computed_once_however_often_a_study_goes_on(number, computed, study, tmp_path, monkeypatch):
    allocations = (NamedAllocation("activation", (("gamma", 0.002),)), NamedAllocation("owl"))
    study = replace(shortened(study), allocations=allocations)
    whole = run(study, tmp_path / "whole")
    assert all(len(set(CellValues(whole.table).of(cell, "profile"))) > 1 for cell in (1, 3))
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "cut", progress=interrupt_at(number))
    told = []
    for name, allocation in (("counted_shares", "activation"), ("wanda_profile", "owl")):
        monkeypatch.setattr(pruning, name, noting(getattr(pruning, name), told, allocation))
    cut = run(study, tmp_path / "cut")
    assert told == computed
    assert cut.table == whole.table
    for name in ("figures.csv", "differences.csv", "plans.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def noting(function, told, name):
    """The function, which adds ``name`` to ``told`` whenever it is called."""

    def noted(*args, **options):
        told.append(name)
        return function(*args, **options)

    return noted
