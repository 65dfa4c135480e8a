"""The message for a directory that holds another run: what differs, in a few lines whatever the configurations are."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from store_runs import refused

from actsim.errors import ResumeError
from actsim.store.manifest import refuse_other_run

CELLS = [
    {"score": score, "allocation": "uniform", "sparsity": 0.5, "calibration": "c4", "seed": seed}
    for seed in range(4)
    for score in ("wanda", "magnitude")
]
GOLD = [float(pair) for pair in range(1379)]
TEXT = 2 * "Once upon a time there was a template that nobody ever read to its end, and to its very "
STUDY = {"study": "study", "cells": CELLS, "samples": 4, "evaluations": [{"data": "x", "gold": GOLD}], "text": TEXT}


def told(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What stands in parentheses in the message."""
    manifests = [{"config": config, "digest": place} for place, config in enumerate((old, new))]
    with refused(ResumeError, r"^run holds a run with another configuration \(", r"\)\. Start over with") as caught:
        refuse_other_run(Path("run"), *manifests)
    assert "\n" not in str(caught.value)
    return str(caught.value).partition("(")[2].rpartition("). Start")[0]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"samples": 8}, "samples: 4 -> 8"),
        ({"samples": None}, "samples: 4 -> None"),
        (
            {"cells": CELLS[:5]},
            "cells: 8 -> 5 entries, differing: 3, the first: cells[5]: {'score': 'magnitude', 'alloc",
        ),
        (
            {"cells": CELLS[1:]},
            "cells: 8 -> 7 entries, differing: 8, the first: cells[0].score: 'wanda' -> 'magnitude'",
        ),
        (
            {"cells": [*CELLS[:2], *({**cell, "sparsity": 0.6} for cell in CELLS[2:])]},
            "cells: 8 entries, differing: 6, the first: cells[2].sparsity: 0.5 -> 0.6",
        ),
        ({"cells": []}, "cells: 8 -> 0 entries, differing: 8, the first: cells[0]: {'score': 'wanda', 'allocatio"),
        (
            {"cells": [*CELLS, CELLS[0]]},
            f"cells: 8 -> 9 entries, differing: 1, the first: cells[8]: absent -> {CELLS[0]}",
        ),
        (
            {"evaluations": [{"data": "x", "gold": [*GOLD[:9], 0.5, *GOLD[10:]]}]},
            "evaluations[0].gold: 1379 entries, differing: 1, the first: evaluations[0].gold[9]: 9.0 -> 0.5",
        ),
        ({"text": f"{TEXT}end"}, "text: …ts very ' -> …ts very end'"),
        ({"text": "Two"}, "text: 'Once upon a time there was a te… -> 'Two'"),
    ],
)
def test_what_differs_is_named_and_what_is_long_is_counted(change, line):
    found = told(STUDY, STUDY | change)
    assert found.startswith(line)
    assert len(found) <= 240


def test_a_value_that_was_not_there_is_absent():
    old = copy.deepcopy(STUDY)
    del old["cells"], old["samples"]
    cells, samples = told(old, STUDY).split("; ")
    assert cells.startswith("cells: absent -> [{'score': 'wanda'")
    assert samples == "samples: absent -> 4"


@pytest.mark.parametrize("n", [2, 200])
def test_differences_fill_three_lines_and_the_rest_is_counted(n):
    values = {f"setting_{number:03d}": number for number in range(n)}
    *lines, last = told(values, {key: value + 1 for key, value in values.items()}).split("; ")
    if n == 2:
        assert (lines, last) == (["setting_000: 0 -> 1"], "setting_001: 1 -> 2")
    else:
        assert last == f"and {n - len(lines)} more"
        assert 200 < len("".join(lines)) <= 240


def test_one_difference_is_told_whatever_its_length():
    old, new = ({"x" * 300: value} for value in (0, 1))
    assert told(old, new) == f"{'x' * 300}: 0 -> 1"
