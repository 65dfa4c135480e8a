"""The data sets that actsim knows by name, as declarations: where they are, which revision, how they are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actsim.registry import unknown_name

PARQUET_REF = "refs/convert/parquet"
"""The hub's own parquet conversion of a script-based data set; a moving ref, resolved to a commit when it is read."""


CHOICE_SPLIT = "validation"
"""The split on which choices between settings are made, where a data set has one."""


@dataclass(frozen=True)
class Release:
    """One published version of a data set.

    Attributes:
        name: how the release is asked for and recorded.
        hub_id: the hub data set that holds it, or None for data that ships with the package.
        hub_revision: a 40-digit commit, or PARQUET_REF. The latter moves: the commit it stood for is recorded with the
            run, and giving that commit as the revision repeats the run.
        rows: pairs per split, by which a local copy is recognised; empty where the copy is part of the package.
    """

    name: str
    hub_id: str | None = None
    hub_revision: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A data set of sentence pairs with human similarity scores.

    Attributes:
        name: the public name.
        releases: its versions; the first is the default.
        splits: public split name -> name of the hub split, and of the local file without its ending.
        default_split: the split read when none is asked for.
        columns: role (``a``, ``b``, ``gold``, optionally ``id``) -> the spellings its copies use.
        score_range: lowest and highest possible gold score.
        local_folder: its folder inside the data directory, or None for data that ships with the package.
    """

    name: str
    description: str
    releases: tuple[Release, ...]
    splits: Mapping[str, str]
    default_split: str
    columns: Mapping[str, tuple[str, ...]]
    score_range: tuple[float, float]
    local_folder: str | None
    licence: str
    url: str

    @property
    def hub_id(self) -> str | None:
        """The hub data set of the default release."""
        return self.releases[0].hub_id

    @property
    def hub_revision(self) -> str | None:
        """The pinned revision of the default release."""
        return self.releases[0].hub_revision

    def release(self, name: str | None = None) -> Release:
        """The release called ``name``, or the default one; UsageError when there is none of that name."""
        for release in self.releases:
            if name in (None, release.name):
                return release
        raise unknown_name(f"release of {self.name}", str(name), [release.name for release in self.releases])

    def hub_split(self, split: str) -> str:
        """The name by which the hub and local files call ``split``; UsageError when it is unknown."""
        if split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        return self.splits[split]

    def choice_split(self, evaluated: str | None) -> str | None:
        """The split on which choices are made when ``evaluated`` (by default the default split) is reported.

        ``validation``, or None where there is none or it is the one that is reported.
        """
        known = CHOICE_SPLIT in self.splits and (evaluated or self.default_split) != CHOICE_SPLIT
        return CHOICE_SPLIT if known else None

    def recognise(self, split: str, rows: int, asked: str | None) -> str:
        """The name of the release a table of ``rows`` pairs belongs to, judged by the size of its split.

        Args:
            split: public name of the split.
            rows: pairs in the table.
            asked: the release that was asked for by name, if any.

        Returns:
            A release name, or ``"unknown, N rows"`` when no release has a split of that size.

        Raises:
            UsageError: ``asked`` is not a release of this data set.
        """
        for release in self.releases:
            if not release.rows and asked in (None, release.name):
                return release.name
        matching = [release.name for release in self.releases if release.rows.get(split) == rows]
        if asked is not None and self.release(asked).name in matching:
            return asked
        return matching[0] if matching else f"unknown, {rows} rows"


_SPLITS = {"train": "train", "validation": "validation", "test": "test"}

STS_B = Benchmark(
    name="sts-b",
    description="STS Benchmark: captions, news headlines and forum posts, scored 0-5 for similarity in meaning",
    releases=(
        # The commit is the one mteb pins for its task STSBenchmark.
        Release(
            name="stsbenchmark",
            hub_id="mteb/stsbenchmark-sts",
            hub_revision="b0fddb56ed78048fa8b90373c8a3cfc37b684831",
            rows={"train": 5749, "validation": 1500, "test": 1379},
        ),
    ),
    splits=_SPLITS,
    default_split="test",
    columns={"a": ("sentence1",), "b": ("sentence2",), "gold": ("score",)},
    score_range=(0.0, 5.0),
    local_folder="stsb",
    licence="scores CC BY-SA 4.0; the texts come from several sources with licences of their own",
    url="https://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
)

SICK = Benchmark(
    name="sick",
    description="SICK: sentences involving compositional knowledge, scored 1-5 for relatedness",
    releases=(
        # Neither hub set has a fixed commit of its parquet conversion here: both are resolved when they are read.
        Release(
            name="semeval",
            hub_id="SemEvalWorkshop/sem_eval_2014_task_1",
            hub_revision=PARQUET_REF,
            rows={"train": 4500, "validation": 500, "test": 4927},
        ),
        Release(
            name="hub",
            hub_id="RobZamp/sick",
            hub_revision=PARQUET_REF,
            rows={"train": 4439, "validation": 495, "test": 4906},
        ),
    ),
    splits=_SPLITS,
    default_split="test",
    columns={
        "a": ("sentence_A", "premise", "sentence1"),
        "b": ("sentence_B", "hypothesis", "sentence2"),
        "gold": ("relatedness_score", "score"),
        "id": ("id", "pair_ID", "sentence_pair_id"),
    },
    score_range=(1.0, 5.0),
    local_folder="sick",
    licence="CC BY-NC-SA 3.0",
    url="https://doi.org/10.5281/zenodo.2787612",
)

SAMPLE = Benchmark(
    name="sample",
    description="pairs that ship with actsim, over five genres, scored 0-5 by two independent scorings",
    releases=(Release(name="package"),),
    splits={"test": "pairs"},
    default_split="test",
    columns={"a": ("sentence1",), "b": ("sentence2",), "gold": ("score",), "id": ("id",)},
    score_range=(0.0, 5.0),
    local_folder=None,
    licence="Apache-2.0",
    url="",
)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in (STS_B, SICK, SAMPLE)}
