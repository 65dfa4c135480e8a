"""What every model of a pruning study is measured on: texts, tasks with choices, sentence pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from actsim.config import DEFAULT_BATCH_TOKENS
from actsim.data.pairs import PairSet, load_pairs
from actsim.data.questions import Questions, load_questions
from actsim.data.running_text import RunningText, load_running_text
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel
from actsim.pipelines.embedding import embedding_cosines
from actsim.pipelines.perplexity import Windows, cut_windows, mean_losses
from actsim.studies.study_file import Study
from actsim.studies.task_summary import metrics_of

PERPLEXITY, ACCURACY, SPEARMAN = "perplexity", "accuracy", "spearman"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Something that a model is measured on.

    Attributes:
        data: what it is called: corpus, task or benchmark.
        figure: what the values of a measure are summed up to: perplexity, accuracy or spearman.
        items: measure -> how many items it has a value for.
        identity: what makes it this evaluation and no other, ready for JSON.
        measure: the values of a model: measure -> one for every item.
    """

    data: str
    figure: str
    items: Mapping[str, int]
    identity: Mapping[str, Any]
    measure: Callable[[LoadedModel], dict[str, list[float]]]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"data": self.data, "figures": dict.fromkeys(self.items, self.figure), **self.identity}


def text_evaluation(text: RunningText, windows: Windows) -> Evaluation:
    """The mean negative log-likelihood of every window of a text, in nats; summed up to exp of their mean."""
    name = f"nll:{text.name}"
    count, context = windows.ids.shape
    tokens = hashlib.sha256(windows.ids.numpy().tobytes()).hexdigest()
    identity = {"text": text.identity(), "context": context, "windows": count, "tokens_sha256": tokens}
    return Evaluation(
        text.name, PERPLEXITY, {name: count}, identity, lambda loaded: {name: mean_losses(loaded, windows)}
    )


def task_evaluation(questions: Questions) -> Evaluation:
    """Whether every question is answered rightly, 1 or 0, by every metric that matters for the task; summed up to the
    share of right answers. Through lm-evaluation-harness.
    """
    names = {metric: f"{metric}:{questions.task}" for metric in metrics_of(questions.task)}

    def measure(loaded: LoadedModel) -> dict[str, list[float]]:
        from actsim.integrations import lm_eval

        rows = lm_eval.answers(questions, loaded, batch_tokens=DEFAULT_BATCH_TOKENS)
        ordered = sorted(rows, key=lambda row: row["row"])
        return {name: [float(row[metric]) for row in ordered] for metric, name in names.items()}

    identity = {"questions": questions.identity(), "lm_eval": metadata.version("lm_eval")}
    return Evaluation(questions.task, ACCURACY, dict.fromkeys(names.values(), len(questions)), identity, measure)


def pair_evaluation(pairs: PairSet) -> Evaluation:
    """The cosine of the model's own embeddings of every sentence pair; summed up to Spearman's ρ with the gold scores,
    which are part of the identity, since the summary is made from it.
    """
    name = f"cosine:{pairs.name}"
    identity = {"pairs": pairs.identity(), "gold": pairs.gold.tolist()}
    return Evaluation(
        pairs.name,
        SPEARMAN,
        {name: len(pairs)},
        identity,
        lambda loaded: {name: embedding_cosines(loaded, pairs).tolist()},
    )


def load_evaluations(study: Study, loaded: LoadedModel, data_dir: str | Path | None) -> tuple[Evaluation, ...]:
    """Read everything that the study measures.

    Raises:
        UsageError: texts or tasks for an encoder, pairs for a causal language model.
        ActsimError: see ``load_running_text``, ``load_questions``, ``load_pairs`` and ``cut_windows``.
    """
    _check_family(study, loaded)
    found: list[Evaluation] = []
    for entry in study.perplexity:
        text = load_running_text(entry["data"], data_dir=data_dir)
        cut = {name: entry.get(name) for name in ("context", "first_tokens")}
        found.append(text_evaluation(text, cut_windows(loaded, text.text, **cut)))
    for entry in study.tasks:
        changes: dict[str, Any] = {name: entry.get(name) for name in ("limit", "shots")}
        found.append(task_evaluation(load_questions(entry["name"], data_dir=data_dir, **changes)))
    for entry in study.pairs:
        pairs = load_pairs(entry["data"], entry.get("split"), limit=entry.get("limit"), data_dir=data_dir)
        found.append(pair_evaluation(pairs))
    return tuple(found)


def item_counts(evaluations: Sequence[Evaluation]) -> dict[str, int]:
    """Measure -> how many items it has, of all evaluations."""
    return {measure: count for own in evaluations for measure, count in own.items.items()}


def _check_family(study: Study, loaded: LoadedModel) -> None:
    if loaded.family != "causal" and not study.pairs:
        raise UsageError(
            f"{loaded.source['name']} was loaded as {loaded.family}: perplexity and tasks are of causal language "
            "models; measure pairs."
        )
    if loaded.family == "causal" and study.pairs:
        raise UsageError(
            f"{loaded.source['name']} is a causal language model and has no embedding of its own; measure perplexity "
            "or tasks."
        )
