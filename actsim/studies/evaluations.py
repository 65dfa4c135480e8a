"""What every model of a pruning study is measured on: texts, tasks with choices, sentence pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class Evaluation(Protocol):
    """Something that a model is measured on.

    Attributes:
        data: what it is called: corpus, task or benchmark.
        items: measure -> how many items it has a value for.
        figures: measure -> what the values are summed up to: perplexity, accuracy or spearman.
    """

    @property
    def data(self) -> str:
        """See above."""
        ...

    @property
    def items(self) -> Mapping[str, int]:
        """See above."""
        ...

    @property
    def figures(self) -> Mapping[str, str]:
        """See above."""
        ...

    def identity(self) -> dict[str, Any]:
        """What makes it this evaluation and no other, ready for JSON."""
        ...

    def measure(self, loaded: LoadedModel) -> dict[str, list[float]]:
        """The values of a model: measure -> one for every item."""
        ...


@dataclass(frozen=True, eq=False)
class TextEvaluation:
    """The mean negative log-likelihood of every window of a text, in nats."""

    text: RunningText
    windows: Windows

    @property
    def data(self) -> str:
        """The text's name."""
        return self.text.name

    @property
    def items(self) -> Mapping[str, int]:
        """Windows."""
        return {f"nll:{self.data}": len(self.windows.ids)}

    @property
    def figures(self) -> Mapping[str, str]:
        """exp of the mean over the windows."""
        return {f"nll:{self.data}": PERPLEXITY}

    def identity(self) -> dict[str, Any]:
        """The text, and the tokens that are taken of it."""
        count, context = self.windows.ids.shape
        tokens = hashlib.sha256(self.windows.ids.numpy().tobytes()).hexdigest()
        return {"text": self.text.identity(), "context": context, "windows": count, "tokens_sha256": tokens}

    def measure(self, loaded: LoadedModel) -> dict[str, list[float]]:
        """One value for every window."""
        return {f"nll:{self.data}": mean_losses(loaded, self.windows)}


@dataclass(frozen=True, eq=False)
class TaskEvaluation:
    """Whether every question is answered rightly, 1 or 0; through lm-evaluation-harness."""

    questions: Questions

    @property
    def data(self) -> str:
        """The task's name."""
        return self.questions.task

    @property
    def items(self) -> Mapping[str, int]:
        """Questions."""
        return {f"{metric}:{self.data}": len(self.questions) for metric in metrics_of(self.data)}

    @property
    def figures(self) -> Mapping[str, str]:
        """The share of right answers."""
        return dict.fromkeys(self.items, ACCURACY)

    def identity(self) -> dict[str, Any]:
        """The questions, and the version of the harness."""
        from importlib import metadata

        return {"questions": self.questions.identity(), "lm_eval": metadata.version("lm_eval")}

    def measure(self, loaded: LoadedModel) -> dict[str, list[float]]:
        """One value for every question, by every metric that matters for the task."""
        from actsim.integrations import lm_eval

        rows = lm_eval.answers(self.questions, loaded, batch_tokens=DEFAULT_BATCH_TOKENS)
        ordered = sorted(rows, key=lambda row: row["row"])
        return {f"{metric}:{self.data}": [float(row[metric]) for row in ordered] for metric in metrics_of(self.data)}


@dataclass(frozen=True, eq=False)
class PairEvaluation:
    """The cosine of the model's own embeddings of every sentence pair."""

    pairs: PairSet

    @property
    def data(self) -> str:
        """The benchmark's name."""
        return self.pairs.name

    @property
    def items(self) -> Mapping[str, int]:
        """Pairs."""
        return {f"cosine:{self.data}": len(self.pairs)}

    @property
    def figures(self) -> Mapping[str, str]:
        """Spearman's ρ with the gold scores."""
        return dict.fromkeys(self.items, SPEARMAN)

    def identity(self) -> dict[str, Any]:
        """The pairs, and their gold scores, which the summary is made from."""
        return {"pairs": self.pairs.identity(), "gold": self.pairs.gold.tolist()}

    def measure(self, loaded: LoadedModel) -> dict[str, list[float]]:
        """One value for every pair."""
        return {f"cosine:{self.data}": embedding_cosines(loaded, self.pairs).tolist()}


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
        found.append(TextEvaluation(text, cut_windows(loaded, text.text, **cut)))
    for entry in study.tasks:
        changes: dict[str, Any] = {name: entry.get(name) for name in ("limit", "shots")}
        found.append(TaskEvaluation(load_questions(entry["name"], data_dir=data_dir, **changes)))
    for entry in study.pairs:
        pairs = load_pairs(entry["data"], entry.get("split"), limit=entry.get("limit"), data_dir=data_dir)
        found.append(PairEvaluation(pairs))
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
