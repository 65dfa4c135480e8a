"""How a row of each task becomes a prompt: zero-shot, or behind solved examples.

A prompt ends where the answer would begin and never holds it. The forms of boolq, gsm8k, humaneval, mmlu, piqa are
those of lm-evaluation-harness. hellaswag and siqa are its questions too, but followed by lettered choices, as mmlu is:
the published matrix comes from scripts that ask for a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
"""Column name -> value of one row."""

BETWEEN_SHOTS = "\n\n"
"""What stands between solved examples, and between the last of them and the question."""


@dataclass(frozen=True)
class PromptForm:
    """How a row is asked and answered.

    Attributes:
        columns: the columns that the question is made of.
        question: row -> the question, up to where its answer begins.
        answer_columns: the further columns that the answer is made of.
        answer: row -> what continues the question in a solved example; the space in front included.
        example: a made-up row, for ``actsim list domains``.
        intro: row -> what stands once in front of everything.
        group: a column whose value a solved example has to share with the row, or None.
    """

    columns: tuple[str, ...]
    question: Callable[[Row], str]
    answer_columns: tuple[str, ...]
    answer: Callable[[Row], str]
    example: Row
    intro: Callable[[Row], str] = lambda row: ""
    group: str | None = None

    def prompt(self, row: Row, shots: Sequence[Row] = ()) -> str:
        """The prompt of ``row`` behind the solved examples ``shots``.

        Raises:
            AttributeError, IndexError, TypeError, ValueError: a value is not of the kind that the task has.
        """
        solved = [self.question(shot) + self.answer(shot) for shot in shots]
        return self.intro(row) + BETWEEN_SHOTS.join([*solved, self.question(row)])


def _lettered(choices: Sequence[str]) -> str:
    """``A. first`` and so on, a line each."""
    return "\n".join(f"{letter(number)}. {choice.strip()}" for number, choice in enumerate(choices))


def letter(number: int) -> str:
    """``A`` for 0."""
    return chr(ord("A") + number)


def choice_number(value: Any, choices: int, first: int = 0) -> int:
    """The 0-based number of the right choice out of a label, a number or its digits, that counts from ``first``."""
    number = int(value) - first
    if not 0 <= number < choices:
        raise ValueError(f"label {value!r} is none of {choices} choices counted from {first}")
    return number


def _without_marks(text: str) -> str:
    """WikiHow's marks out of a text of HellaSwag: ``[title]`` ends a sentence, other brackets go."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def hellaswag_context(row: Row) -> str:
    """The activity and what is told of it, up to where an ending follows."""
    return _without_marks(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")


def hellaswag_endings(row: Row) -> list[str]:
    """The endings without WikiHow's marks."""
    return [_without_marks(ending) for ending in row["endings"]]


def _hellaswag_question(row: Row) -> str:
    return f"{hellaswag_context(row).strip()}\n{_lettered(hellaswag_endings(row))}\nAnswer:"


def siqa_question(row: Row) -> str:
    """``Q:``, the context and the question."""
    return f"Q: {row['context'].strip()} {row['question'].strip()}"


def siqa_choices(row: Row) -> list[str]:
    """The three answers."""
    return [row[column].strip() for column in ("answerA", "answerB", "answerC")]


def piqa_choices(row: Row) -> list[str]:
    """The two solutions; some rows have spaces around them."""
    return [row["sol1"].strip(), row["sol2"].strip()]


BOOLQ = PromptForm(
    columns=("passage", "question"),
    question=lambda row: f"{row['passage'].strip()}\nQuestion: {row['question'].strip()}?\nAnswer:",
    answer_columns=("answer",),
    answer=lambda row: " yes" if row["answer"] else " no",
    example={
        "passage": "The harbour of Ostmere freezes every winter, but ferries keep sailing behind an icebreaker.",
        "question": "do ferries leave ostmere in winter",
        "answer": True,
    },
)

GSM8K = PromptForm(
    columns=("question",),
    question=lambda row: f"Question: {row['question'].strip()}\nAnswer:",
    answer_columns=("answer",),
    answer=lambda row: f" {row['answer'].strip()}",
    example={
        "question": "A baker fills 6 trays with 12 rolls each and sells 50 rolls. How many rolls are left?",
        "answer": "She bakes 6 * 12 = <<6*12=72>>72 rolls.\n72 - 50 = <<72-50=22>>22 are left.\n#### 22",
    },
)

HELLASWAG = PromptForm(
    columns=("activity_label", "ctx_a", "ctx_b", "endings"),
    question=_hellaswag_question,
    answer_columns=("label",),
    answer=lambda row: f" {letter(choice_number(row['label'], len(row['endings'])))}",
    example={
        "activity_label": "Mending a kite",
        "ctx_a": "A girl spreads a torn kite on a table.",
        "ctx_b": "she",
        "endings": ["tapes the tear.", "swims to shore.", "paints a fence.", "parks the bus."],
        "label": "0",
    },
)

HUMANEVAL = PromptForm(
    columns=("prompt",),
    question=lambda row: row["prompt"],
    answer_columns=("canonical_solution",),
    answer=lambda row: row["canonical_solution"].rstrip(),
    example={
        "prompt": 'def double(number: int) -> int:\n    """Twice the number.\n    >>> double(4)\n    8\n    """\n',
        "canonical_solution": "    return 2 * number\n",
    },
)

MMLU = PromptForm(
    columns=("question", "subject", "choices"),
    question=lambda row: f"{row['question'].strip()}\n{_lettered(row['choices'])}\nAnswer:",
    answer_columns=("answer",),
    answer=lambda row: f" {letter(choice_number(row['answer'], len(row['choices'])))}",
    example={
        "question": "Which unit measures electrical resistance?",
        "subject": "high_school_physics",
        "choices": ["volt", "ohm", "watt", "tesla"],
        "answer": 1,
    },
    intro=lambda row: (
        f"The following are multiple choice questions (with answers) about {row['subject'].replace('_', ' ')}.\n\n"
    ),
    group="subject",
)

PIQA = PromptForm(
    columns=("goal",),
    question=lambda row: f"Question: {row['goal'].strip()}\nAnswer:",
    answer_columns=("sol1", "sol2", "label"),
    answer=lambda row: f" {piqa_choices(row)[choice_number(row['label'], 2)]}",
    example={
        "goal": "How do I keep a door from squeaking?",
        "sol1": "Put a drop of oil on each hinge.",
        "sol2": "Put a drop of honey on each hinge.",
        "label": 0,
    },
)

SIQA = PromptForm(
    columns=("context", "question", "answerA", "answerB", "answerC"),
    question=lambda row: f"{siqa_question(row)}\n{_lettered(siqa_choices(row))}\nAnswer:",
    answer_columns=("label",),
    answer=lambda row: f" {letter(choice_number(row['label'], 3, first=1))}",
    example={
        "context": "Imke lent Jonas her umbrella before the storm.",
        "question": "How would Jonas feel afterwards?",
        "answerA": "thankful",
        "answerB": "hungry",
        "answerC": "betrayed",
        "label": "1",
    },
)
