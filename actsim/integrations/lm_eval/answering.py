"""What a model answers to the questions of a task, row by row, as lm-evaluation-harness has it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import lm_eval.api.task
import numpy as np
from lm_eval.evaluator import evaluate

from actsim.data.questions import Question, Questions
from actsim.errors import NumericError
from actsim.integrations.lm_eval.model import CountingLM
from actsim.integrations.lm_eval.tasks import METRICS, harness_tasks
from actsim.models.checkpoint import quiet_transformers
from actsim.models.loading import LoadedModel


def answers(
    questions: Questions, loaded: LoadedModel, *, batch_tokens: int, count: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Let the model choose an answer to every question.

    Args:
        questions: of a task.
        loaded: a causal language model.
        batch_tokens: padded tokens of a batch.
        count: told of the choices just scored.

    Returns:
        A row for every question, see ``store.answers.ANSWER_COLUMNS``; what is right is the harness's own figure.

    Raises:
        ModelError: see ``check_model``.
        DataError: a choice that has no tokens, or more than the model takes.
        NumericError: a log-likelihood that is not finite.
    """
    with _quiet():
        model = CountingLM(loaded, batch_tokens, count)
        samples = evaluate(model, harness_tasks(questions), bootstrap_iters=0)["samples"]
    asked = {question.row: question for question in questions.asked}
    return [
        _row(questions.task, asked[sample["doc"]["row"]], sample, model) for task in samples.values() for sample in task
    ]


def _row(task: str, question: Question, sample: dict[str, Any], model: CountingLM) -> dict[str, Any]:
    loglikelihoods = [loglikelihood for loglikelihood, _ in sample["filtered_resps"]]
    if not all(map(math.isfinite, loglikelihoods)):
        raise NumericError(
            f"{task}, row {question.row}: the log-likelihood of a choice is not a finite number; use --dtype float32."
        )
    return {
        "task": task,
        "row": question.row,
        "group": question.group,
        "right": question.right,
        "chosen": int(np.argmax(loglikelihoods)),
        **{metric: int(sample[metric]) for metric in METRICS},
        "cut": sum(texts in model.cut for texts in map(tuple, sample["arguments"])),
        "loglikelihoods": loglikelihoods,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """While the harness works: none of its log lines below an error, nor transformers', and none of its bars.

    The bar that it draws while it builds prompts has no switch, so that another one stands in for it.
    """
    log, drawn = logging.getLogger("lm_eval"), lm_eval.api.task.tqdm
    level = log.level
    log.setLevel(logging.ERROR)
    lm_eval.api.task.tqdm = partial(drawn, disable=True)
    try:
        with quiet_transformers():
            yield
    finally:
        log.setLevel(level)
        lm_eval.api.task.tqdm = drawn
