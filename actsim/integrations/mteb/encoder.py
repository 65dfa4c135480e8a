"""A model of MTEB whose embeddings are fingerprints of activation patterns: their cosine is the score."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from tqdm.auto import tqdm

from actsim.config import Encoding
from actsim.errors import DataError, UsageError
from actsim.integrations.mteb.fingerprint_settings import (
    ENCODING_SETTINGS,
    LOADING_SETTINGS,
    SCORING_SETTINGS,
    checked,
    part,
)
from actsim.integrations.mteb.model_meta import base_of, described, revision_of
from actsim.models.loading import LoadedModel, load_model
from actsim.pipelines.encoding import Encoder


class ActSimEncoder:
    """Sentences as vectors whose plain cosine is how alike their activation patterns are.

    The model that ``mteb.get_model("actsim/<base model>")`` gives after ``register``.

    Args:
        model_name: ``actsim/<base model>``, or a model that is loaded already.
        revision: the registered one; what the model really is decides.
        base: the base model, an id on the hub or a folder; default by ``model_name``.
        base_revision: its commit on the hub.
        device: where it goes, as ``--device``; default the fastest there is.
        settings: those of ``Encoding`` (kind, layers, measure, dim, top_fraction, seed), of ``Scoring`` (objective,
            pattern, template, max_tokens, batch_tokens) and of ``load_model`` (dtype, by default float32 on every
            device, family, trust_remote_code, allow_unsafe_weights, device_map); ``embed_dim``, MTEB's word for dim.

    Attributes:
        loaded: the base model.
        encoder: the base model and all settings.
        mteb_model_meta: what MTEB's results and cache know it by. Its revision changes with the base model's weights,
            the settings and the version of actsim.

    Raises:
        UsageError: an unknown setting, or one that is impossible.
        ModelError: a base model that cannot be found or scored.
    """

    def __init__(
        self,
        model_name: str | LoadedModel,
        revision: str | None = None,
        *,
        base: str | None = None,
        base_revision: str | None = None,
        device: str | None = None,
        **settings: Any,
    ) -> None:
        self._settings = checked(settings)
        if isinstance(model_name, LoadedModel):
            self.loaded = _as_given(model_name, [base, base_revision, device, *part(settings, LOADING_SETTINGS)])
            self._weights = json.dumps(self.loaded.identity(), sort_keys=True)
        else:
            self.loaded = load_model(
                base or base_of(model_name),
                revision=base_revision,
                device=device or "auto",
                max_tokens=self._settings.get("max_tokens"),
                **{"dtype": "float32", **part(self._settings, LOADING_SETTINGS)},
            )
            self._weights = self.loaded.source["revision"] or self.loaded.source["sha256"]
        scoring = replace(self.loaded.default_scoring(), **part(self._settings, SCORING_SETTINGS))
        self.encoder = Encoder(self.loaded, scoring, Encoding(**part(self._settings, ENCODING_SETTINGS)))
        meta = described(self.loaded.source["name"], base_revision=self._weights, **self._settings)
        self.mteb_model_meta = meta.model_copy(update=self.facts())

    def facts(self) -> dict[str, Any]:
        """What of the metadata is known once the base model is loaded."""
        parameters = list(self.loaded.model.parameters())
        inputs = self.loaded.model.get_input_embeddings()
        return {
            "revision": revision_of(self._weights, {**self._settings, "dtype": self.loaded.dtype}),
            "embed_dim": self.encoder.width,
            "max_tokens": self.encoder.scoring.max_tokens,
            "n_parameters": sum(weight.numel() for weight in parameters),
            "n_embedding_parameters": sum(weight.numel() for weight in inputs.parameters()),
            "memory_usage_mb": sum(weight.numel() * weight.element_size() for weight in parameters) / 2**20,
            "model_type": ["sparse" if self._sparse else "dense"],
        }

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any = None,
        precision: str | None = None,
        show_progress_bar: bool = False,
        **kwargs: Any,
    ) -> Tensor | sparse.csr_array:
        """The vectors of all texts, in order: float32 on the CPU, [texts, entries], of length 1.

        A text that leaves nothing to score gets zeros, see ``Encoder.encode``.

        Args:
            inputs: MTEB's batches, each with its texts under ``text``.
            task_metadata: the task's, whose name stands in messages.
            precision: ``float32`` or None; vectors are not quantised.
            show_progress_bar: show one.
            kwargs: what else MTEB says of a task. None of it changes a vector; batches go by ``batch_tokens``.

        Returns:
            A dense tensor; with ``kind="sets"`` and ``dim=None`` a SciPy matrix, which MTEB's tasks of pairs take.

        Raises:
            UsageError: another precision.
            DataError: inputs without texts.
            NumericError: see ``Encoder.encode``.
        """
        if precision not in (None, "float32"):
            raise UsageError(f"precision must be float32, got {precision!r}; the vectors are not quantised.")
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                of = f"the task {task_metadata.name}" if task_metadata is not None else "the batch"
                raise DataError(f"{of} has no texts, only {', '.join(batch)}; actsim reads texts.")
            texts += batch["text"]
        with tqdm(total=len(texts), unit="text", disable=not show_progress_bar) as bar:
            vectors = self.encoder.encode(texts, bar.update)
        return _scipy(vectors) if vectors.is_sparse else vectors

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosine of every vector of the one with every vector of the other; 0 where one of them is zero.

        Args:
            embeddings1: [n, entries] as ``encode`` gives them, or NumPy arrays.
            embeddings2: [m, entries].
        """
        if sparse.issparse(embeddings1):
            return torch.as_tensor((embeddings1 @ embeddings2.T).toarray())
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosine of the vectors in the same place of the one and of the other; 0 where one of them is zero.

        Args:
            embeddings1: [n, entries] as ``encode`` gives them, or NumPy arrays.
            embeddings2: the same.
        """
        if sparse.issparse(embeddings1):
            return torch.as_tensor(embeddings1.multiply(embeddings2).sum(axis=1))
        return (_unit(embeddings1) * _unit(embeddings2)).sum(dim=-1)

    @property
    def _sparse(self) -> bool:
        return self.encoder.encoding.kind == "sets" and self.encoder.encoding.dim is None


def _as_given(loaded: LoadedModel, decided_by_loading: Iterable[Any]) -> LoadedModel:
    if any(value is not None for value in decided_by_loading):
        raise UsageError("the model is loaded already; give its name, device, dtype and revision to load_model.")
    return loaded


def _unit(vectors: Tensor | np.ndarray) -> Tensor:
    return torch.nn.functional.normalize(torch.as_tensor(vectors).float(), dim=-1)


def _scipy(vectors: Tensor) -> sparse.csr_array:
    vectors = vectors.coalesce()
    entries, places = vectors.values().numpy(), vectors.indices().numpy()
    return sparse.csr_array((entries, places), shape=tuple(vectors.shape))
