"""Questions as tasks of lm-evaluation-harness.

Rows come from actsim, checked, so the tasks have no data set to load and one configuration serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.task import ConfigurableTask

from actsim.data.choices import HARNESS_PREFIX
from actsim.data.hf import rows_dataset
from actsim.data.questions import Question, Questions

METRICS = ("acc", "acc_norm")
"""The right choice has the largest log-likelihood; the largest log-likelihood per character."""


def harness_tasks(questions: Questions) -> dict[str, ConfigurableTask]:
    """The tasks that ask these questions, by name: one, or one for each group (of mmlu: ``actsim_mmlu_anatomy``)."""
    tasks = {}
    for group, (asked, examples) in questions.groups().items():
        name = HARNESS_PREFIX + "_".join(filter(None, (questions.task, group)))
        task = ConfigurableTask(config=_config(name, questions, asked, examples))
        task.set_fewshot_seed(questions.seed)
        tasks[name] = task
    return tasks


def _config(name: str, questions: Questions, asked: Sequence[Question], examples: Sequence[Question]) -> dict[str, Any]:
    """The configuration of a task; without a split of their own, examples come from ``asked``, never the question."""
    splits = {"asked": asked, **({"examples": examples} if examples else {})}
    return {
        "task": name,
        "custom_dataset": _reader(splits),
        "test_split": "asked",
        "fewshot_split": "examples" if examples else "asked",
        "fewshot_config": {"sampler": "first_n" if questions.form.first_examples else "default"},
        "num_fewshot": questions.shots,
        "output_type": "multiple_choice",
        "description": asked[0].intro,
        "doc_to_text": "text",
        "doc_to_choice": "choices",
        "doc_to_target": "right",
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in METRICS],
    }


def _reader(splits: dict[str, Sequence[Question]]) -> Callable[[], dict[str, Any]]:
    """What the harness calls for the data of a task."""

    def read() -> dict[str, Any]:
        return {
            split: rows_dataset(
                [
                    {"row": own.row, "text": own.text, "choices": list(own.choices), "right": own.right}
                    for own in questions
                ]
            )
            for split, questions in splits.items()
        }

    return read
