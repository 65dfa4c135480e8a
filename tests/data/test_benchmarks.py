from __future__ import annotations

import re

import pytest

from actsim.data.benchmarks import BENCHMARKS, PARQUET_REF, SICK, STS_B
from actsim.errors import UsageError


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_declaration_is_complete(name: str) -> None:
    benchmark = BENCHMARKS[name]
    assert benchmark.name == name
    assert benchmark.default_split in benchmark.splits
    assert {"a", "b", "gold"} <= set(benchmark.columns)
    assert benchmark.score_range[0] < benchmark.score_range[1]
    for release in benchmark.releases:
        assert (release.hub_id is None) == (release.hub_revision is None) == (benchmark.local_folder is None)
        if release.hub_revision is not None:
            assert release.hub_revision == PARQUET_REF or re.fullmatch("[0-9a-f]{40}", release.hub_revision)
            assert set(release.rows) == set(benchmark.splits)


def test_the_default_release_of_sick_is_semevals() -> None:
    assert SICK.release() is SICK.releases[0]
    assert SICK.release().name == "semeval"
    assert sum(SICK.release().rows.values()) == 9927


@pytest.mark.parametrize(
    ("rows", "asked", "expected"),
    [
        (4927, None, "semeval"),
        (4906, None, "hub"),
        (4906, "hub", "hub"),
        (4906, "semeval", "hub"),
        (9927, None, "unknown, 9927 rows"),
    ],
)
def test_the_release_is_recognised_by_the_size_of_the_split(rows: int, asked: str | None, expected: str) -> None:
    assert SICK.recognise("test", rows, asked) == expected


def test_unknown_split_and_release_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="train, validation, test"):
        STS_B.hub_split("dev")
    with pytest.raises(UsageError, match="semeval, hub"):
        SICK.release("semval")


def test_choices_are_made_on_the_validation_split_unless_that_is_reported() -> None:
    found = {
        (name, split): BENCHMARKS[name].choice_split(split) for name in BENCHMARKS for split in (None, "validation")
    }
    assert {key for key, split in found.items() if split == "validation"} == {("sts-b", None), ("sick", None)}
    assert set(found.values()) == {None, "validation"}
