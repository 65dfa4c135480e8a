"""Tasks with choices: how a row is asked, what may follow, and which of it is right.

The forms are those of lm-evaluation-harness's own tasks; but for hellaswag, spaces around a row's values are cut off,
which the harness leaves. A choice follows its question behind one space. Only those of mmlu are letters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actsim.data import prompt_forms
from actsim.data.prompt_forms import Row, choice_number
from actsim.errors import UsageError
from actsim.registry import refuse_repeated, unknown_name

HARNESS_PREFIX = "actsim_"
"""In front of a task's name in lm-evaluation-harness: its figures are not those of the harness's own tasks."""


@dataclass(frozen=True)
class ChoiceForm:
    """How a row of a task is asked, and which choices there are.

    Attributes:
        columns: the columns that are needed.
        question: row -> the question, up to where a choice follows.
        choices: row -> the choices, without the space in front.
        right: row -> the 0-based number of the right choice.
        length_matters: whether the choices differ in length, so that accuracy by log-likelihood per character says
            something beside accuracy.
        shots: solved examples in front of a question where nothing else is said.
        first_examples: whether these are the first ones of their split, else they are drawn.
        intro: row -> what stands once in front of everything.
        group: a column whose value a solved example has to share with the row, or None.
    """

    columns: tuple[str, ...]
    question: Callable[[Row], str]
    choices: Callable[[Row], Sequence[str]]
    right: Callable[[Row], int]
    length_matters: bool = False
    shots: int = 0
    first_examples: bool = False
    intro: Callable[[Row], str] = lambda row: ""
    group: str | None = None


_NO_YES = ("no", "yes")


def _boolq_right(row: Row) -> int:
    if not isinstance(row["answer"], bool):
        raise TypeError(f"answer {row['answer']!r} is neither true nor false")
    return int(row["answer"])


CHOICE_TASKS: dict[str, ChoiceForm] = {
    "boolq": ChoiceForm(
        columns=(*prompt_forms.BOOLQ.columns, "answer"),
        question=prompt_forms.BOOLQ.question,
        choices=lambda row: _NO_YES,
        right=_boolq_right,
    ),
    "siqa": ChoiceForm(
        columns=(*prompt_forms.SIQA.columns, "label"),
        question=lambda row: f"{prompt_forms.siqa_question(row)}\nA:",
        choices=prompt_forms.siqa_choices,
        right=lambda row: choice_number(row["label"], 3, first=1),
    ),
    "piqa": ChoiceForm(
        columns=(*prompt_forms.PIQA.columns, *prompt_forms.PIQA.answer_columns),
        question=prompt_forms.PIQA.question,
        choices=prompt_forms.piqa_choices,
        right=lambda row: choice_number(row["label"], 2),
        length_matters=True,
    ),
    "hellaswag": ChoiceForm(
        columns=(*prompt_forms.HELLASWAG.columns, "label"),
        question=prompt_forms.hellaswag_context,
        choices=prompt_forms.hellaswag_endings,
        right=lambda row: choice_number(row["label"], len(row["endings"])),
        length_matters=True,
    ),
    "mmlu": ChoiceForm(
        columns=(*prompt_forms.MMLU.columns, "answer"),
        question=prompt_forms.MMLU.question,
        choices=lambda row: [prompt_forms.letter(number) for number in range(len(row["choices"]))],
        right=lambda row: choice_number(row["answer"], len(row["choices"])),
        shots=5,
        first_examples=True,
        intro=prompt_forms.MMLU.intro,
        group=prompt_forms.MMLU.group,
    ),
}
"""Name of a corpus -> how it is asked as a task with choices."""


def check_tasks(names: Sequence[str]) -> None:
    """Raise UsageError for no task, an unknown one, or one that is named twice."""
    if not names:
        raise UsageError(f"no task given; give --task NAME at least once: {', '.join(CHOICE_TASKS)}.")
    for name in names:
        if name not in CHOICE_TASKS:
            raise unknown_name("task", name, CHOICE_TASKS)
    refuse_repeated("task", names)
