"""The questions of a task with choices: which rows are asked, and what solved examples stand in front of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actsim.data.checks import checked_text
from actsim.data.choices import CHOICE_TASKS, ChoiceForm, check_tasks
from actsim.data.corpora import CORPORA
from actsim.data.corpus_files import read_split, require_columns, row_of
from actsim.data.files import Table
from actsim.data.sources import data_folder
from actsim.errors import DataError, UsageError


@dataclass(frozen=True)
class Question:
    """A row of a task.

    Attributes:
        row: its 0-based number in the split.
        group: what a solved example has to share with it; empty where that does not matter.
        intro: what stands once in front of everything.
        text: the question, up to where a choice follows.
        choices: the choices, without the space in front.
        right: the 0-based number of the right one.
    """

    row: int
    group: str
    intro: str
    text: str
    choices: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Questions:
    """The questions of a task that are asked.

    Attributes:
        task: its name.
        split: the split they are from.
        of: how many rows the split has.
        asked: the questions, in the order of their rows.
        shots: how many solved examples stand in front of each.
        examples: what solved examples are taken from; empty where they are other questions that are asked.
        form: how rows are asked.
        seed: by which rows and examples are drawn.
        source: ``kind`` (local or hub) and where the rows came from; also that of the examples.
    """

    task: str
    split: str
    of: int
    asked: tuple[Question, ...]
    shots: int
    examples: tuple[Question, ...]
    form: ChoiceForm
    seed: int
    source: dict[str, Any]

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.asked)

    @property
    def n_choices(self) -> int:
        """Number of choices of all questions together."""
        return sum(len(question.choices) for question in self.asked)

    def groups(self) -> dict[str, tuple[list[Question], list[Question]]]:
        """Group -> its questions and its examples, in the order in which groups first occur."""
        found: dict[str, tuple[list[Question], list[Question]]] = {}
        for question in self.asked:
            found.setdefault(question.group, ([], []))[0].append(question)
        for example in self.examples:
            if example.group in found:
                found[example.group][1].append(example)
        return found

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over row numbers, questions, choices, right answers and examples, in order."""
        digest = hashlib.sha256()
        for question in (*self.asked, *self.examples):
            digest.update(json.dumps(astuple(question)).encode("ascii") + b"\n")
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a manifest keeps of the questions: JSON-ready, and the same on every machine."""
        drawn = len(self) < self.of or (self.shots and not self.form.first_examples)
        return {
            "split": self.split,
            "n": len(self),
            "of": self.of,
            "shots": self.shots,
            "seed": self.seed if drawn else None,
            "fingerprint": self.fingerprint(),
            "source": dict(self.source),
        }


def load_questions(
    task: str,
    *,
    shots: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Questions:
    """Read the questions of a task.

    Args:
        task: a name out of CHOICE_TASKS.
        shots: solved examples in front of each question; by default as the task is usually asked: five for mmlu, the
            first of the question's subject in the split ``dev``; none for the others. Where the corpus names a split
            for them (``train``), they are drawn there, else among the other questions that are asked.
        limit: a random sample of so many rows, in the order of the split; all of them when None.
        seed: of the sample, and of the draw of the examples.
        data_dir: folder with ``domains/<name>/<split>.jsonl``, see ``load_domain``.

    Raises:
        UsageError: an unknown task, or a number that makes no sense.
        DataError: the data is missing or unfit, names the file and the row; or there are too few solved examples.
    """
    check_tasks([task])
    for name, value, least in (("shots", shots, 0), ("limit", limit, 1)):
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, got {value}.")
    corpus, form, folder = CORPORA[task], CHOICE_TASKS[task], data_folder(data_dir)
    count = form.shots if shots is None else shots
    table, source = read_split(corpus, corpus.default_split, folder)
    require_columns(table, form.columns)
    asked = tuple(_question(form, table, row) for row in _drawn(len(table), limit, seed))
    examples: tuple[Question, ...] = ()
    if count and corpus.shot_split is not None:
        other, origin = read_split(corpus, corpus.shot_split, folder)
        require_columns(other, form.columns)
        examples = tuple(_question(form, other, row) for row in range(len(other)))
        source = {**source, "shots": {"split": corpus.shot_split, **origin}}
    questions = Questions(task, corpus.default_split, len(table), asked, count, examples, form, seed, source)
    _check_examples(questions)
    return questions


def _drawn(rows: int, limit: int | None, seed: int) -> list[int]:
    """The rows of a sample, in order."""
    if limit is None or limit >= rows:
        return list(range(rows))
    return sorted(np.random.default_rng(seed).choice(rows, size=limit, replace=False).tolist())


def _question(form: ChoiceForm, table: Table, number: int) -> Question:
    """A row as a question; DataError where its values are not those of the task."""
    row = row_of(table, number)
    try:
        group = "" if form.group is None else str(row[form.group])
        choices = tuple(form.choices(row))
        question = Question(number, group, form.intro(row), form.question(row), choices, form.right(row))
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{table.where(number)}: not a row of this task ({type(error).__name__}: {error}); replace the copy."
        ) from error
    for what, text in (("the question", question.text), *(("a choice", choice) for choice in question.choices)):
        checked_text(text, table.where(number), what)
    return question


def _check_examples(questions: Questions) -> None:
    """Raise DataError where a question has fewer solved examples than are wanted."""
    for group, (asked, examples) in questions.groups().items():
        available = len(examples) if questions.examples else len(asked) - 1
        if questions.shots > available:
            shared = f" with {questions.form.group} {group!r}" if group else ""
            raise DataError(
                f"{questions.task}: {questions.shots} solved examples wanted, {available} available{shared}; "
                "give a smaller --shots."
            )
