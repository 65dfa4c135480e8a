"""Make actsim known to mteb, which has no hook for it: its registries are filled."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from actsim.errors import ActsimError, UsageError
from actsim.integrations.mteb.model_meta import FingerprintMeta, described
from actsim.integrations.mteb.tasks import ActSimSICKR, ActSimSTSB, PairTask
from actsim.models.locate import DEFAULT_MODEL

TASKS: tuple[type[PairTask], ...] = (ActSimSTSB, ActSimSICKR)
"""The tasks that ``mteb.get_task`` knows by name after ``register``."""


def register(tasks: Sequence[PairTask] = (), models: Sequence[str | FingerprintMeta] = (DEFAULT_MODEL,)) -> None:
    """Make the tasks and models of actsim known to mteb by their names; may be called any number of times.

    Tasks are found by name, in ``mteb.get_task``, ``mteb.get_tasks(tasks=[…])`` and ``mteb run -t``, and by what reads
    results. Listings by type or language keep to mteb's own tasks. A model made of ``owner/model`` is then
    ``mteb.get_model("actsim/model", **settings)``.

    Args:
        tasks: further ones: of ``pair_task``, or with settings of their own.
        models: base models, each an id on the hub or a folder, or what ``described`` makes of one. The weights of a
            model that mteb does not know are looked up, and fetched where they are not on this machine.

    Raises:
        UsageError: a name that another task or model has already; nothing is registered then.
        ModelError: a base model that cannot be found.
        ActsimError: this version of mteb keeps its tasks or models elsewhere.
    """
    kinds = [*TASKS, *(type(task) for task in tasks)]
    metas = [described(model) if isinstance(model, str) else model for model in models]
    known_models = _registry("models.model_implementations", "MODEL_REGISTRY")
    _refuse_taken_tasks(kinds)
    for meta in metas:
        _refuse_taken_model(known_models.get(meta.name), meta)
    _register_tasks(kinds)
    known_models.update({meta.name: meta for meta in metas})


def _refuse_taken_model(taken: Any, meta: FingerprintMeta) -> None:
    """UsageError where the name is another model's: not ours, or ours of another base model."""
    if taken is None:
        return
    of = taken.loader_kwargs.get("base") if isinstance(taken, FingerprintMeta) else "another library"
    if of != meta.loader_kwargs["base"]:
        raise UsageError(
            f"mteb has a model {meta.name!r} already, of {of}; "
            "give yours another name: described(base).model_copy(update={'name': 'actsim/…'})."
        )


def _refuse_taken_tasks(tasks: Sequence[type[PairTask]]) -> None:
    known = _registry("get_tasks", "_TASKS_REGISTRY")
    for task in tasks:
        taken = known.get(task.metadata.name)
        if taken is not None and not (issubclass(taken, PairTask) and taken.metadata == task.metadata):
            raise UsageError(
                f"mteb has a task {task.metadata.name!r} already, {taken.__module__}.{taken.__qualname__}; "
                "give yours another name."
            )


def _register_tasks(tasks: Sequence[type[PairTask]]) -> None:
    """Fill mteb's tasks by name, and those that share data with others, by which it knows what a model trained on."""
    known, similar = _registry("get_tasks", "_TASKS_REGISTRY"), _registry("get_tasks", "_SIMILAR_TASKS")
    for task in tasks:
        known.setdefault(task.metadata.name, task)
        for parent in task.metadata.adapted_from or ():
            names = similar.setdefault(parent, [])
            if task.metadata.name not in names:
                names.append(task.metadata.name)


def _registry(module: str, name: str) -> dict[str, Any]:
    """A dictionary of mteb's that is not part of its interface; ActsimError where it is gone."""
    try:
        found = getattr(importlib.import_module(f"mteb.{module}"), name, None)
    except ModuleNotFoundError:
        found = None
    if not isinstance(found, dict):
        raise ActsimError(
            f"mteb {metadata.version('mteb')} has no dictionary mteb.{module}.{name}, which registration fills; "
            "actsim knows mteb 2.10 to 2.26: pip install 'mteb>=2.10,<=2.26.24'."
        )
    return found
