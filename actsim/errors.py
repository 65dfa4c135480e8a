"""One small tree of errors; the command line catches the root and prints one line."""

from __future__ import annotations


class ActsimError(Exception):
    """Root of every error actsim raises on purpose.

    The message says what is wrong, what was found, what is allowed and what to do next.
    """

    exit_code = 1


class UsageError(ActsimError):
    """An argument or option that cannot be acted on: an unknown name, an impossible combination."""

    exit_code = 2


class DataError(ActsimError):
    """Sentence pairs that cannot be used: names the file and the row."""


class ModelError(ActsimError):
    """A model that cannot be loaded, or whose parameters cannot all be accounted for."""


class NumericError(ActsimError):
    """A value that is not finite, or a pattern without a direction: names sentence, layer and module."""


class ResumeError(ActsimError):
    """A run directory that belongs to another configuration, or cannot be continued."""


class MissingExtraError(ActsimError):
    """An optional package is needed: names the extra that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run: pip install 'actsim[{extra}]'")
