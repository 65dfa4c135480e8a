"""Rows of tasks as questions: which choice is right, which rows are drawn, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_tasks
from tiny_tasks import BOOLQ, HELLASWAG, PIQA, SIQA

from actsim.data.choices import CHOICE_TASKS
from actsim.data.questions import load_questions
from actsim.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_tasks.data_dir(tmp_path)


RIGHT = {
    "boolq": ["no", "yes", "yes"],
    "siqa": ["thankful", "betrayed", "hungry as a wolf"],
    "piqa": ["Oil each hinge.", "Fill it with paper.", "Tape."],
    "hellaswag": ["tapes the tear.", "paints.", " parks the bus."],
    "mmlu": ["A", "B", "A", "B", "C"],
}


@pytest.mark.parametrize("task", CHOICE_TASKS)
def test_the_right_choice_is_the_one_that_the_label_names(folder, task):
    questions = load_questions(task, data_dir=folder)
    assert [question.choices[question.right] for question in questions.asked] == RIGHT[task]
    assert len(questions) == questions.of == len(RIGHT[task])


def test_spaces_around_solutions_are_cut_off(folder, tmp_path):
    spaced = [{**row, "sol1": f" {row['sol1']} "} for row in PIQA]
    other = tiny_tasks.data_dir(tmp_path / "other", piqa__validation=spaced)
    assert load_questions("piqa", data_dir=other).asked == load_questions("piqa", data_dir=folder).asked


def test_only_mmlu_has_solved_examples_unless_they_are_asked_for(folder):
    shots = {task: load_questions(task, data_dir=folder).shots for task in CHOICE_TASKS}
    assert shots == {"boolq": 0, "siqa": 0, "piqa": 0, "hellaswag": 0, "mmlu": 5}
    assert load_questions("mmlu", shots=0, data_dir=folder).examples == ()


def test_solved_examples_of_mmlu_are_of_the_subject(folder):
    for subject, (asked, examples) in load_questions("mmlu", data_dir=folder).groups().items():
        assert all(subject in question.text for question in (*asked, *examples))
        assert len(examples) == 5


def test_a_sample_is_drawn_by_the_seed_and_keeps_the_order(folder, tmp_path):
    many = [{**BOOLQ[row % 3], "question": f"is it {row}"} for row in range(40)]
    other = tiny_tasks.data_dir(tmp_path / "many", boolq__validation=many)
    first, again, second = (load_questions("boolq", limit=10, seed=seed, data_dir=other) for seed in (0, 0, 1))
    rows = [question.row for question in first.asked]
    assert rows == sorted(set(rows)) and len(rows) == 10
    assert [question.text for question in first.asked] == [
        f"{many[row]['passage']}\nQuestion: {many[row]['question']}?\nAnswer:" for row in rows
    ]
    assert first.fingerprint() == again.fingerprint() != second.fingerprint()
    assert load_questions("boolq", limit=99, data_dir=folder).asked == load_questions("boolq", data_dir=folder).asked


def test_the_fingerprint_covers_rows_labels_and_examples(folder, tmp_path):
    known = {load_questions("siqa", data_dir=folder).fingerprint()}
    known.add(load_questions("siqa", shots=1, data_dir=folder).fingerprint())
    for number, changed in enumerate(({"label": "2"}, {"answerC": "bored"}, {"question": "And Imke?"})):
        rows = [{**SIQA[0], **changed}, *SIQA[1:]]
        other = tiny_tasks.data_dir(tmp_path / str(number), siqa__validation=rows)
        known.add(load_questions("siqa", data_dir=other).fingerprint())
    assert len(known) == 5


WRONG_ROWS = {
    "a label from 0": ("siqa", {**SIQA[0], "label": "0"}, "label '0' is none of 3 choices counted from 1"),
    "a label too large": ("hellaswag", {**HELLASWAG[0], "label": "4"}, "label '4' is none of 4"),
    "a hidden label": ("piqa", {**PIQA[0], "label": -1}, "label -1 is none of 2"),
    "an answer in words": ("boolq", {**BOOLQ[0], "answer": "no"}, "neither true nor false"),
    "an empty ending": ("hellaswag", {**HELLASWAG[0], "endings": ["a", "b", "[c]", "d"]}, "a choice is empty"),
    "no solution": ("piqa", {key: value for key, value in PIQA[0].items() if key != "sol2"}, "'sol2' has no value"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_a_wrong_row_is_named(tmp_path, name):
    task, row, says = WRONG_ROWS[name]
    path = f"{task}__validation"
    folder = tiny_tasks.data_dir(tmp_path, **{path: [*tiny_tasks.FILES[f"{task}/validation"], row]})
    with pytest.raises(DataError, match="data row 4") as caught:
        load_questions(task, data_dir=folder)
    assert says in str(caught.value)


def test_impossible_requests_are_refused(folder):
    for arguments, says in (
        ({"task": "bolq"}, "Did you mean 'boolq'"),
        ({"task": "boolq", "shots": -1}, "--shots must be at least 0"),
        ({"task": "boolq", "limit": 0}, "--limit must be at least 1"),
    ):
        with pytest.raises(UsageError, match=says):
            load_questions(**arguments, data_dir=folder)


@pytest.mark.parametrize(("task", "shots", "available"), [("siqa", 3, 2), ("hellaswag", 3, 2), ("mmlu", 6, 5)])
def test_too_few_solved_examples_are_counted(folder, task, shots, available):
    with pytest.raises(DataError, match=f"{shots} solved examples wanted, {available} available"):
        load_questions(task, shots=shots, data_dir=folder)
