"""The seconds of a start are those of the process that was started, and a start that fails is no figure."""

from __future__ import annotations

import sys

import pytest

from benchmarks.start import Start, measure, table

BUSY = """
    import time
    until = time.process_time() + float(sys.argv[1])
    while time.process_time() < until:
        pass
"""


def test_seconds_are_counted_up_to_the_last_line_and_up_to_the_end():
    start = measure(sys.executable, BUSY, ["0.3"])
    assert 0.3 <= start.cpu <= start.whole
    assert start.wall >= 0.3
    assert measure(sys.executable, BUSY, ["0.0"]).cpu < start.cpu


def test_a_command_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="no such thing"):
        measure(sys.executable, "    sys.exit('no such thing')", [])


def test_ratios_are_taken_round_by_round():
    found = {
        ("floor", "python"): [Start(1.0, 1.0, 2.0), Start(2.0, 2.0, 4.0), Start(4.0, 4.0, 5.0)],
        ("actsim score", "python"): [Start(1.5, 2.0, 3.0), Start(3.0, 4.0, 5.0), Start(5.0, 6.0, 7.0)],
    }
    score, floor = table(found).splitlines()[2:]
    assert score.startswith("| actsim score, python | 3.00 (1.50 to 5.00) | 1.50 (1.25 to 1.50) | 4.00 (2.00 to 6.00)")
    assert "| 1.00 (1.00 to 1.00) |" in floor
