"""mteb's own command line, with actsim's names in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from actsim.errors import ModelError, UsageError
from actsim.integrations.mteb.fingerprint_settings import read_settings
from actsim.integrations.mteb.model_meta import ORGANISATION, base_of, described
from actsim.integrations.mteb.registration import TASKS, register

PREFIX = f"{ORGANISATION}/"


def run_command_line(arguments: Sequence[str], settings: Sequence[str] = ()) -> None:
    """Register, then let mteb's command line act on ``arguments``; what it raises, SystemExit included, passes.

    Args:
        arguments: mteb's; ``actsim/<base model>`` in them is registered, under the name that is put in its place.
        settings: ``name=value`` each, those of these models.

    Raises:
        UsageError: settings without such a model, or that cannot be read; a name that mteb does not know.
        ModelError: a model that cannot be found.
    """
    given = read_settings(settings)
    metas = {word: described(base_of(word), **given) for word in map(_model_in, arguments) if word}
    if given and not metas:
        raise UsageError(f"--set acts on models called {PREFIX}<base model>, and the arguments name none.")
    register(models=list(metas.values()))
    named = [
        argument.replace(word, str(metas[word].name)) if (word := _model_in(argument)) else argument
        for argument in arguments
    ]
    from mteb.cli import main

    before, sys.argv = sys.argv, ["actsim mteb", *named]
    try:
        main()
    except KeyError as error:  # how mteb says that it does not know a name
        raise UsageError(f"mteb: {error.args[0]} The tasks of actsim: {', '.join(_task_names())}.") from error
    except OSError as error:  # how transformers says that it cannot find a model
        raise ModelError(
            f"mteb: {error} Without the hub, {PREFIX}<base model> is read from a folder, the cache or the bundled copy."
        ) from error
    finally:
        sys.argv = before


def _task_names() -> list[str]:
    return [task.metadata.name for task in TASKS]


def _model_in(argument: str) -> str | None:
    """``actsim/<base model>`` where the argument is that, or gives it to an option (``--model=actsim/…``)."""
    word = argument.partition("=")[2] if argument.startswith("--") else argument
    return word if word.startswith(PREFIX) and len(word) > len(PREFIX) else None
