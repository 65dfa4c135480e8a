"""The prompt of each task, against strings written out by hand, on made-up rows."""

from __future__ import annotations

import pytest

from actsim.data import prompt_forms as forms
from actsim.data.corpora import CORPORA

ROWS = {
    "boolq": {"passage": "Otters hold hands. ", "question": "do otters sleep", "answer": False},
    "gsm8k": {"question": "What is 2 plus 3?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"},
    "hellaswag": {
        "activity_label": "Raking leaves",
        "ctx_a": "A man rakes [title] The yard [step] is big.",
        "ctx_b": "the man",
        "endings": ["stops.", " [step] sings.", "rakes on. ", "naps."],
        "label": "2",
    },
    "humaneval": {"prompt": "def one():\n", "canonical_solution": "    return 1\n\n"},
    "mmlu": {"question": " Two and two? ", "subject": "some_maths", "choices": ["3", "4 ", "5", "6"], "answer": 1},
    "piqa": {"goal": "Dry a cup", "sol1": "Use a towel. ", "sol2": " Use a spoon.", "label": 1},
    "siqa": {
        "context": "Ada waved. ",
        "question": "How is Ada?",
        "answerA": "glad ",
        "answerB": "sad",
        "answerC": "old",
        "label": "3",
    },
}
QUESTIONS = {
    "boolq": "Otters hold hands.\nQuestion: do otters sleep?\nAnswer:",
    "gsm8k": "Question: What is 2 plus 3?\nAnswer:",
    "hellaswag": (
        "Raking leaves: A man rakes. The yard is big. The man\nA. stops.\nB. sings.\nC. rakes on.\nD. naps.\nAnswer:"
    ),
    "humaneval": "def one():\n",
    "mmlu": "Two and two?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:",
    "piqa": "Question: Dry a cup\nAnswer:",
    "siqa": "Q: Ada waved. How is Ada?\nA. glad\nB. sad\nC. old\nAnswer:",
}
ANSWERS = {
    "boolq": " no",
    "gsm8k": " 2 + 3 = <<2+3=5>>5\n#### 5",
    "hellaswag": " C",
    "humaneval": "    return 1",
    "mmlu": " B",
    "piqa": " Use a spoon.",
    "siqa": " C",
}
INTROS = {"mmlu": "The following are multiple choice questions (with answers) about some maths.\n\n"}


def test_every_corpus_that_asks_has_a_row_here() -> None:
    assert set(ROWS) == {name for name, corpus in CORPORA.items() if corpus.form is not None}


@pytest.mark.parametrize("name", ROWS)
def test_a_prompt_ends_where_the_answer_begins(name: str) -> None:
    assert CORPORA[name].form.prompt(ROWS[name]) == INTROS.get(name, "") + QUESTIONS[name]


@pytest.mark.parametrize("name", ROWS)
def test_solved_examples_stand_before_the_question(name: str) -> None:
    solved = QUESTIONS[name] + ANSWERS[name]
    prompt = CORPORA[name].form.prompt(ROWS[name], [ROWS[name], ROWS[name]])
    assert prompt == INTROS.get(name, "") + f"{solved}\n\n{solved}\n\n{QUESTIONS[name]}"


@pytest.mark.parametrize("name", ROWS)
def test_the_zero_shot_prompt_does_not_depend_on_the_answer(name: str) -> None:
    form = CORPORA[name].form
    hidden = {key: value for key, value in ROWS[name].items() if key not in form.answer_columns}
    assert form.prompt(hidden) == form.prompt(ROWS[name])


@pytest.mark.parametrize("name", ROWS)
def test_the_columns_of_a_form_are_those_it_uses(name: str) -> None:
    form = CORPORA[name].form
    used = {**{key: ROWS[name][key] for key in form.columns}, **{key: ROWS[name][key] for key in form.answer_columns}}
    assert form.prompt(used, [used]) == form.prompt(ROWS[name], [ROWS[name]])
    assert set(form.example) == set(used)


@pytest.mark.parametrize(("form", "label"), [(forms.SIQA, "0"), (forms.SIQA, "4"), (forms.PIQA, 2), (forms.PIQA, -1)])
def test_a_label_outside_of_the_choices_is_refused(form: forms.PromptForm, label: object) -> None:
    with pytest.raises(ValueError, match="is none of"):
        form.answer({**form.example, "label": label})
