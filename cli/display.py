"""What a command shows beside its result: remarks, progress and log lines on stderr; results on stdout."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actsim.errors import ActsimError, UsageError
from actsim.report.wording import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

LOG = logging.getLogger("actsim")

PAIR_STAGES = ("scoring", "summing up")
"""What goes on while there are pairs left, and after the last one."""

SILENCE = 30.0
"""Seconds between two remarks about progress where no bar is drawn."""


class Interrupted(ActsimError):
    """Ctrl-C: says what is kept."""

    exit_code = 130


@contextmanager
def keeping(directory: Path, fresh: bool) -> Iterator[None]:
    """While a run in ``directory`` goes on: Ctrl-C says where it is kept and how it goes on.

    Raises:
        Interrupted: on Ctrl-C once there is a run.
    """
    try:
        yield
    except KeyboardInterrupt:
        from actsim.store.manifest import MANIFEST_NAME

        if not (directory / MANIFEST_NAME).exists():
            raise
        again = "the same command without --fresh" if fresh else "the same command"
        raise Interrupted(f"interrupted; the run is kept in {directory}, and {again} goes on with it.") from None


class StderrHandler(logging.Handler):
    """Writes ``actsim: warning: …`` to whatever stderr is at the time, so that a progress bar stays whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line."""
        click.echo(f"actsim: {record.levelname.lower()}: {one_line(record.getMessage())}", err=True)


def set_up_logging(verbosity: int) -> None:
    """Send actsim's log to stderr: warnings, with one -v also what it does, with two everything.

    Python's warnings, once ``logging`` captures them, come along with -v.
    """
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    for log, level in (
        (LOG, levels[min(verbosity, len(levels) - 1)]),
        (logging.getLogger("py.warnings"), logging.WARNING if verbosity else logging.ERROR),
    ):
        if not any(isinstance(handler, StderrHandler) for handler in log.handlers):
            log.addHandler(StderrHandler())
        log.setLevel(level)


def print_failure(message: str) -> None:
    """The one line that a failed command leaves on stderr."""
    click.echo(f"actsim: {one_line(message)}", err=True)


@dataclass(frozen=True)
class Screen:
    """Where a command writes, as its display options say.

    Attributes:
        as_json: the result is JSON, and alone on stdout.
        quiet: neither remarks nor progress.
    """

    as_json: bool
    quiet: bool

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Screen:
        """The screen of a command, with logging set up; a UsageError for -q and -v together."""
        if options["quiet"] and options["verbose"]:
            raise UsageError("--quiet and --verbose exclude each other; give one of them.")
        set_up_logging(options["verbose"])
        return cls(options["as_json"], options["quiet"])

    @property
    def moves(self) -> bool:
        """Whether something that moves may be drawn: stderr is a terminal, and nobody asked for quiet."""
        return not self.quiet and sys.stderr.isatty()

    def say(self, remark: str) -> None:
        """One line on stderr, unless quiet."""
        if not self.quiet:
            click.echo(one_line(remark), err=True)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """A spinner beside ``what`` while something without a known length goes on."""
        if not self.moves:
            yield
            return
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(one_line(what))):
            yield

    @contextmanager
    def progress(self, unit: str = "pairs", stages: tuple[str, str] = PAIR_STAGES) -> Iterator[PairProgress]:
        """What is to be told of units done and their total; it draws a bar where something that moves may be drawn.

        ``stages`` are what goes on while there are units left, and after the last one.
        """
        if not self.moves:
            yield PairProgress(self, None, unit, stages)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        with Progress(*columns, console=Console(stderr=True), expand=True, transient=True) as bar:
            yield PairProgress(self, bar, unit, stages)

    def show(self, result: RenderableType, document: Mapping[str, Any]) -> None:
        """The result on stdout: ``document`` with --json, else ``result``."""
        if self.as_json:
            click.echo(json.dumps(document, indent=2, allow_nan=False))
            return
        from rich.console import Console

        Console(highlight=False).print(result)

    def list_files(self, lines: list[str]) -> None:
        """The last lines: which files there are; beside JSON they go to stderr."""
        for line in lines:
            if self.as_json:
                self.say(line)
            else:
                click.echo(line)


class PairProgress:
    """Follows the pairs of a run, or of several one after the other, as ``evaluate`` reports them; or other units."""

    def __init__(
        self, screen: Screen, bar: Progress | None, unit: str = "pairs", stages: tuple[str, str] = PAIR_STAGES
    ) -> None:
        self._screen, self._bar = screen, bar
        self._unit, self._stages = unit, stages
        self._task: TaskID | None = None
        self._begun = (0, 0.0)
        self._said = 0.0
        self._last: tuple[int, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Take a report; another total than before, or fewer pairs done, means that another run has begun."""
        if self._last is None or total != self._last[1] or done < self._last[0]:
            self._begin(done, total)
        self._last = (done, total)
        if self._bar is not None and self._task is not None:
            description = self._stages[0] if done < total else self._stages[1]
            self._bar.update(self._task, completed=done, description=description, rate=self._rate(done))
        elif done < total and time.monotonic() - self._said >= SILENCE:
            self._remark(done, total)

    def _begin(self, done: int, total: int) -> None:
        if done:
            self._screen.say(f"{done} of {total} {self._unit} are scored already")
        self._begun = (done, time.monotonic())
        self._said = self._begun[1]
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(self._stages[0], total=total, completed=done, rate="")

    def _remark(self, done: int, total: int) -> None:
        """One line about how far it is, for logs and pipes."""
        before, start = self._begun
        self._said = time.monotonic()
        left = (total - done) * (self._said - start) / (done - before) if done > before else None
        tail = f", about {timedelta(seconds=round(left))} left" if left is not None else ""
        self._screen.say(f"{self._stages[0]}: {done} of {total} {self._unit}{tail}")

    def _rate(self, done: int) -> str:
        """Units per second since the run was begun; those that were there already do not count."""
        before, start = self._begun
        seconds = time.monotonic() - start
        return f"{(done - before) / seconds:.1f} {self._unit}/s" if done > before and seconds > 0 else ""
