"""Tasks with choices through lm-evaluation-harness. Needs ``actsim[lm-eval]``; see docs/tasks.md.

The public names are imported when they are first used: importing lm_eval takes seconds.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from actsim.errors import MissingExtraError

if TYPE_CHECKING:
    from actsim.integrations.lm_eval.answering import answers
    from actsim.integrations.lm_eval.model import CountingLM, check_model
    from actsim.integrations.lm_eval.tasks import harness_tasks

_HOMES = {"CountingLM": "model", "answers": "answering", "check_model": "model", "harness_tasks": "tasks"}

__all__ = ["CountingLM", "answers", "check_model", "harness_tasks"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    check_installed(f"actsim.integrations.lm_eval.{name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def check_installed(purpose: str) -> None:
    """Raise MissingExtraError, saying what for, where lm_eval is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtraError("lm-eval", "lm-eval", purpose)
