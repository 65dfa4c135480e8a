"""Failures: each kind has its line and its status, and nothing unforeseen is swallowed."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys

import pytest

from actsim.errors import DataError, UsageError
from actsim_cli import listing
from actsim_cli.display import LOG
from actsim_cli.main import QUIET_LIBRARIES, report_unexpected

RAISES = """
from actsim_cli import listing
from actsim_cli.main import run

def fail():
    raise {error}

listing.KINDS["patterns"] = fail
run()
"""


@pytest.fixture
def fail(monkeypatch):
    """Make ``actsim list`` raise."""

    def raising(error):
        def entries():
            raise error

        monkeypatch.setitem(listing.KINDS, "patterns", entries)

    return raising


@pytest.fixture
def log_level():
    level = LOG.level
    yield LOG.setLevel
    LOG.setLevel(level)


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


def run_program(code, *args, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("no such thing."), 2, "actsim: error: no such thing.\n"),
        (DataError("two\nlines\x1b[31m"), 1, "actsim: error: two lines\\x1b[31m\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.csv"),
            1,
            "actsim: error: No space left on device: a.csv\n",
        ),
        (OSError("odd"), 1, "actsim: error: odd\n"),
        (KeyboardInterrupt(), 130, "actsim: interrupted.\n"),
    ],
)
def test_a_foreseen_failure_is_one_line(invoke, fail, error, status, line):
    fail(error)
    result = invoke("list", "patterns")
    assert (result.exit_code, result.stderr, result.stdout) == (status, line, "")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_lack_of_memory_is_told_with_what_to_do(invoke, fail, error):
    fail(error)
    result = invoke("list", "patterns")
    assert result.exit_code == 1
    assert result.stderr.startswith("actsim: error: out of memory; use a smaller --batch-tokens")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("odd"), ValueError("odd"), AssertionError("odd")])
def test_an_unforeseen_error_passes_through(invoke, fail, error):
    fail(error)
    assert invoke("list", "patterns").exception is error


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_an_internal_error_is_one_line_and_a_traceback_when_verbose(verbose):
    done = run_program(RAISES.format(error="ValueError('odd value')"), "list", "patterns", *verbose)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ValueError: odd value" in done.stderr
    if verbose:
        assert "Traceback (most recent call last)" in done.stderr
    else:
        assert done.stderr.startswith("actsim: internal error: ValueError: odd value; run with -v")
        assert done.stderr.count("\n") == 1


def test_an_interrupt_outside_of_a_command_is_one_line(capsys, log_level):
    log_level(logging.WARNING)
    report_unexpected(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == "actsim: interrupted.\n"


@pytest.mark.parametrize("args", [("list",), ("list", "--json"), ("--help",)])
def test_a_reader_that_goes_away_is_no_error(args):
    reader, writer = os.pipe()
    os.close(reader)
    code = "from actsim_cli.main import run; run()"
    done = subprocess.run([sys.executable, "-c", code, *args], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_output_in_another_encoding_is_plain_and_complete():
    code = "from actsim_cli.main import run; run()"
    done = run_program(code, "list", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "|W * dD/dW|" in done.stdout


def test_settings_of_the_user_for_other_libraries_are_kept():
    code = "import os, atexit; atexit.register(lambda: print(os.environ['DATASETS_VERBOSITY'])); "
    code += "from actsim_cli.main import run; run()"
    assert run_program(code, "--version", DATASETS_VERBOSITY="debug").stdout.splitlines()[-1] == "debug"
    assert QUIET_LIBRARIES["DATASETS_VERBOSITY"] == "error"
