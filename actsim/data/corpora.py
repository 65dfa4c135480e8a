"""The corpora that actsim knows by name, as declarations: where they are, which revision, how a row becomes a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actsim.data import prompt_forms
from actsim.data.benchmarks import PARQUET_REF
from actsim.data.prompt_forms import PromptForm
from actsim.registry import unknown_name

TEXT_COLUMN = "text"
"""Where corpora of running text, and the samples that ship with actsim, hold their texts."""


@dataclass(frozen=True)
class Corpus:
    """A corpus whose texts stand for a domain.

    Attributes:
        name: the public name.
        form: how a row becomes a prompt, or None for texts that are taken as they are.
        packed: whether its texts are running text, to be laid end to end and divided.
        splits: split -> rows on the hub, or None where that is not declared.
        default_split: the split read when none is asked for.
        local_folder: its folder inside the data directory, or None for data that ships with the package.
        hub_id: the hub data set, or None for data that ships with the package.
        hub_revision: a 40-digit commit, or PARQUET_REF, which moves; the commit that was read is recorded.
        hub_files: pattern of the files of a split, with ``{split}`` in it.
        hub_rows: how many rows of a split are read from the hub, from its start; None for all.
        shot_split: the split that solved examples come from; None where a part of the same split is set aside for it.
        id_column: the column of ids, or None where rows are numbered.
    """

    name: str
    description: str
    form: PromptForm | None
    packed: bool
    splits: Mapping[str, int | None]
    default_split: str
    licence: str
    local_folder: str | None = None
    hub_id: str | None = None
    hub_revision: str | None = None
    hub_files: str = ""
    hub_rows: int | None = None
    shot_split: str | None = None
    id_column: str | None = None
    url: str = ""

    @property
    def hub_folder(self) -> str:
        """The folder of the hub data set in which ``hub_files`` lie; empty where a pattern stands for it."""
        folder = self.hub_files.partition("/")[0]
        return "" if "*" in folder else folder

    def check_split(self, split: str) -> str:
        """``split``; UsageError when the corpus has none of that name."""
        if split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        return split


# Commits as they are pinned by public projects; not verified against the hub. The two script-based data sets have no
# fixed commit of their parquet conversion here: it is resolved when it is read.
_DECLARED = (
    Corpus(
        name="boolq",
        description="yes/no questions on a passage of Wikipedia",
        form=prompt_forms.BOOLQ,
        packed=False,
        splits={"train": 9427, "validation": 3270},
        default_split="validation",
        shot_split="train",
        local_folder="domains/boolq",
        hub_id="google/boolq",
        hub_revision="35b264d03638db9f4ce671b711558bf7ff0f80d5",
        hub_files="data/{split}-*.parquet",
        licence="CC BY-SA 3.0",
        url="https://github.com/google-research-datasets/boolean-questions",
    ),
    Corpus(
        name="c4",
        description="web pages; from the hub the first documents of a split's first file",
        form=None,
        packed=True,
        splits={"train": None, "validation": None},
        default_split="train",
        local_folder="domains/c4",
        hub_id="allenai/c4",
        hub_revision="1588ec454efa1a09f29cd18ddd04fe05fc8653a2",
        hub_files="en/c4-{split}.00000-of-*.json.gz",
        hub_rows=2000,
        licence="ODC-By 1.0; the texts are under Common Crawl's terms of use",
        url="https://huggingface.co/datasets/allenai/c4",
    ),
    Corpus(
        name="gsm8k",
        description="word problems of primary school mathematics",
        form=prompt_forms.GSM8K,
        packed=False,
        splits={"train": 7473, "test": 1319},
        default_split="test",
        shot_split="train",
        local_folder="domains/gsm8k",
        hub_id="openai/gsm8k",
        hub_revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
        hub_files="main/{split}-*.parquet",
        licence="MIT",
        url="https://github.com/openai/grade-school-math",
    ),
    Corpus(
        name="hellaswag",
        description="which of four endings follows a description",
        form=prompt_forms.HELLASWAG,
        packed=False,
        splits={"train": 39905, "validation": 10042},
        default_split="validation",
        local_folder="domains/hellaswag",
        hub_id="Rowan/hellaswag",
        hub_revision="218ec52e09a7e7462a5400043bb9a69a41d06b76",
        hub_files="data/{split}-*.parquet",
        licence="MIT",
        url="https://rowanzellers.com/hellaswag/",
    ),
    Corpus(
        name="humaneval",
        description="Python functions to be written after their docstring",
        form=prompt_forms.HUMANEVAL,
        packed=False,
        splits={"test": 164},
        default_split="test",
        id_column="task_id",
        local_folder="domains/humaneval",
        hub_id="openai/openai_humaneval",
        hub_revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        hub_files="openai_humaneval/{split}-*.parquet",
        licence="MIT",
        url="https://github.com/openai/human-eval",
    ),
    Corpus(
        name="mmlu",
        description="questions of 57 subjects with four choices",
        form=prompt_forms.MMLU,
        packed=False,
        splits={"dev": 285, "validation": 1531, "test": 14042},
        default_split="test",
        shot_split="dev",
        local_folder="domains/mmlu",
        hub_id="cais/mmlu",
        hub_revision="c30699e8356da336a370243923dbaf21066bb9fe",
        hub_files="all/{split}-*.parquet",
        licence="MIT",
        url="https://github.com/hendrycks/test",
    ),
    Corpus(
        name="piqa",
        description="everyday goals, to be reached by one of two means",
        form=prompt_forms.PIQA,
        packed=False,
        splits={"train": 16113, "validation": 1838},
        default_split="validation",
        shot_split="train",
        local_folder="domains/piqa",
        hub_id="ybisk/piqa",
        hub_revision=PARQUET_REF,
        hub_files="*/{split}/*.parquet",
        licence="AFL 3.0",
        url="https://yonatanbisk.com/piqa/",
    ),
    Corpus(
        name="siqa",
        description="questions on why people act and how they feel, with three choices",
        form=prompt_forms.SIQA,
        packed=False,
        splits={"train": 33410, "validation": 1954},
        default_split="validation",
        shot_split="train",
        local_folder="domains/siqa",
        hub_id="allenai/social_i_qa",
        hub_revision=PARQUET_REF,
        hub_files="*/{split}/*.parquet",
        licence="unstated",
        url="https://huggingface.co/datasets/allenai/social_i_qa",
    ),
    Corpus(
        name="wikitext2",
        description="good and featured articles of Wikipedia, a row a line",
        form=None,
        packed=True,
        splits={"train": 36718, "validation": 3760, "test": 4358},
        default_split="train",
        local_folder="domains/wikitext2",
        hub_id="Salesforce/wikitext",
        hub_revision="b08601e04326c79dfdd32d625aee71d232d685c3",
        hub_files="wikitext-2-raw-v1/{split}-*.parquet",
        licence="CC BY-SA 3.0 and GFDL",
        url="https://huggingface.co/datasets/Salesforce/wikitext",
    ),
)

SAMPLE_PREFIX = "sample:"


def _sample(name: str, description: str) -> Corpus:
    """A corpus that ships with actsim."""
    return Corpus(
        name=SAMPLE_PREFIX + name,
        description=f"{description}; ships with actsim",
        form=None,
        packed=False,
        splits={"all": 16},
        default_split="all",
        id_column="id",
        licence="Apache-2.0",
    )


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        *_DECLARED,
        _sample("recipes", "how to cook a dish"),
        _sample("repairs", "how to mend a thing of the household"),
        _sample("contracts", "clauses of agreements"),
        _sample("functions", "short Python functions"),
    )
}
"""Name -> corpus: the nine of the paper, then the samples that ship with actsim."""
