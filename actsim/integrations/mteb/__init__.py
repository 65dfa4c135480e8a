"""actsim in MTEB: its evaluation as tasks, its fingerprints as models. Needs ``actsim[mteb]``; see docs/mteb.md.

The public names are imported when they are first used: importing mteb takes seconds.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from actsim.errors import MissingExtraError

if TYPE_CHECKING:
    from actsim.integrations.mteb.command import run_command_line
    from actsim.integrations.mteb.encoder import ActSimEncoder
    from actsim.integrations.mteb.model_meta import described
    from actsim.integrations.mteb.opening import opened
    from actsim.integrations.mteb.registration import register
    from actsim.integrations.mteb.settings import Settings
    from actsim.integrations.mteb.tasks import ActSimSICKR, ActSimSTSB, PairTask, pair_task

_HOMES = {
    "ActSimEncoder": "encoder",
    "ActSimSICKR": "tasks",
    "ActSimSTSB": "tasks",
    "PairTask": "tasks",
    "Settings": "settings",
    "described": "model_meta",
    "opened": "opening",
    "pair_task": "tasks",
    "register": "registration",
    "run_command_line": "command",
}

__all__ = [
    "ActSimEncoder",
    "ActSimSICKR",
    "ActSimSTSB",
    "PairTask",
    "Settings",
    "described",
    "opened",
    "pair_task",
    "register",
    "run_command_line",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    if importlib.util.find_spec("mteb") is None:
        raise MissingExtraError("mteb", "mteb", f"actsim.integrations.mteb.{name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
