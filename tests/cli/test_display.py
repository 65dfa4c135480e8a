"""Progress, remarks and log lines."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from actsim.errors import UsageError
from actsim_cli.display import LOG, PairProgress, Screen, set_up_logging


@pytest.fixture(autouse=True)
def log_left_as_found():
    level, handlers = LOG.level, list(LOG.handlers)
    yield
    LOG.setLevel(level)
    LOG.handlers[:] = handlers


def test_pairs_that_are_there_already_are_told_once_per_run(capsys):
    progress = PairProgress(Screen(as_json=False, quiet=False), None)
    for done in (10, 20, 30):
        progress(done, 30)
    for done in (5, 8):
        progress(done, 8)
    assert capsys.readouterr().err.splitlines() == [
        "10 of 30 pairs are scored already",
        "5 of 8 pairs are scored already",
    ]


def test_a_new_run_of_the_same_size_starts_a_new_bar(capsys):
    bar = Progress(MofNCompleteColumn(), console=Console(file=io.StringIO()))
    progress = PairProgress(Screen(as_json=False, quiet=True), bar)
    for done in (0, 12):
        progress(done, 12)
    assert [(task.completed, task.total, task.description) for task in bar.tasks] == [(12, 12, "summing up")]
    progress(0, 12)
    assert [(task.completed, task.total, task.description) for task in bar.tasks] == [(0, 12, "scoring")]
    assert capsys.readouterr().err == ""


def test_other_units_have_their_own_words():
    bar = Progress(console=Console(file=io.StringIO()))
    progress = PairProgress(Screen(as_json=False, quiet=True), bar, "removals", ("measuring", "measured"))
    told = []
    for done in (0, 3):
        progress(done, 3)
        told.append(bar.tasks[0].description)
    assert told == ["measuring", "measured"]
    assert bar.tasks[0].fields["rate"].endswith(" removals/s")


def test_the_rate_does_not_count_what_was_there_before(monkeypatch):
    clock = iter([100.0, 100.0, 104.0])
    bar = Progress(console=Console(file=io.StringIO()), get_time=lambda: 0.0)
    progress = PairProgress(Screen(as_json=False, quiet=True), bar)
    monkeypatch.setattr("actsim_cli.display.time.monotonic", lambda: next(clock))
    rates = []
    for done in (1000, 1006):
        progress(done, 1010)
        rates.append(bar.tasks[0].fields["rate"])
    assert rates == ["", "1.5 pairs/s"]


def test_without_a_bar_a_long_run_tells_how_far_it_is(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("actsim_cli.display.time.monotonic", lambda: now[0])
    progress = PairProgress(Screen(as_json=False, quiet=False), None)
    for seconds, done in ((0, 0), (20, 10), (31, 20), (50, 30), (90, 100)):
        now[0] = 100.0 + seconds
        progress(done, 100)
    assert capsys.readouterr().err.splitlines() == ["scoring: 20 of 100 pairs, about 0:02:04 left"]


def test_log_lines_are_single_and_follow_the_verbosity(capsys):
    for verbosity, shown in ((0, ["warning"]), (1, ["info", "warning"]), (2, ["debug", "info", "warning"])):
        set_up_logging(verbosity)
        set_up_logging(verbosity)
        LOG.debug("a %s", "debug")
        LOG.info("an info")
        LOG.warning("a\nwarning")
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1] for line in lines] == shown
        assert lines[-1] == "actsim: warning: a warning"


def test_python_warnings_come_along_only_when_asked(capsys):
    warnings_log = logging.getLogger("py.warnings")
    for verbosity, lines in ((0, 0), (1, 1)):
        set_up_logging(verbosity)
        warnings_log.warning("a library's warning")
        assert capsys.readouterr().err.count("\n") == lines


def test_quiet_and_verbose_exclude_each_other():
    with pytest.raises(UsageError, match="exclude each other"):
        Screen.of({"quiet": True, "verbose": 1, "as_json": False})


def test_nothing_moves_where_stderr_is_no_terminal(capsys):
    screen = Screen(as_json=False, quiet=False)
    with screen.working("something"), screen.progress() as progress:
        progress(0, 3)
        progress(3, 3)
    assert not screen.moves
    assert capsys.readouterr() == ("", "")


def test_json_keeps_stdout_to_itself(capsys):
    screen = Screen(as_json=True, quiet=False)
    screen.show("a table", {"Σ": 1.5})
    screen.list_files(["", "files in run:"])
    captured = capsys.readouterr()
    assert captured.out.isascii()
    assert "files in run:" in captured.err
