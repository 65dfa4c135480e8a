"""What ``actsim list`` prints: everything that has a name, with what it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from actsim.report.terminal import Document, Ink, Page


def listing(document: Document) -> Page:
    """Tables of what ``actsim list`` knows, by kind; of a single domain its prompt as well."""

    def blocks(ink: Ink) -> Iterable[RenderableType]:
        for position, (what, entries) in enumerate(document.items()):
            if position:
                yield Text()
            if what == "datasets":
                yield _datasets(ink, entries)
            elif what == "domains":
                yield _domains(ink, entries)
                if len(entries) == 1:
                    yield from _example(ink, entries[0])
            else:
                yield _names(ink, what, entries)

    return Page(blocks)


def _names(ink: Ink, what: str, entries: Sequence[Document]) -> Table:
    """Name, the other short fields, and the definition."""
    short = [key for key in entries[0] if key not in ("name", "definition", "default")]
    rows = [
        [f"{entry['name']}{' *' if entry['default'] else ''}", *(entry[key] for key in short), entry["definition"]]
        for entry in entries
    ]
    headings = [what.removesuffix("s"), *short, "definition (* default)"]
    return ink.table(headings, rows, labels=headings)


def _datasets(ink: Ink, entries: Sequence[Document]) -> Table:
    """A few lines per data set: what it is, its splits by release, its columns, and where it is looked for."""
    rows = []
    for entry in entries:
        low, high = entry["score_range"]
        columns = ", ".join(" or ".join(names) for names in entry["columns"].values())
        rows.append(
            (
                entry["name"],
                (
                    entry["description"],
                    *(_release(entry, release) for release in entry["releases"]),
                    f"scores {low:g} to {high:g}; columns {columns}",
                    f"from {entry['looked_for']}",
                    f"licence: {entry['licence']}",
                    *([entry["url"]] if entry["url"] else []),
                ),
            )
        )
    headings = ["data set", "about (* default split)"]
    return ink.table(headings, rows, labels=headings, lines=True)


def _release(entry: Document, release: Document) -> str:
    """``release semeval (default): train 4500, validation 500, test * 4927``."""
    splits = _splits(release["splits"], entry["default_split"])
    if len(entry["releases"]) == 1:
        return f"splits: {splits}"
    return f"release {release['name']}{' (default)' if release['default'] else ''}: {splits}"


def _domains(ink: Ink, entries: Sequence[Document]) -> Table:
    """A few lines per domain: what it is, its splits, what a text is, and where it is looked for."""
    rows = [
        (
            entry["name"],
            (
                entry["description"],
                f"splits: {_splits(entry['splits'], entry['default_split'])}",
                f"text: {entry['form']}",
                f"from {entry['looked_for']}",
                f"licence: {entry['licence']}",
                *([entry["url"]] if entry["url"] else []),
            ),
        )
        for entry in entries
    ]
    headings = ["domain", "about (* default split)"]
    return ink.table(headings, rows, labels=headings, lines=True)


def _example(ink: Ink, entry: Document) -> Iterable[RenderableType]:
    """The text of a made-up row, or of the first one of a domain that ships with actsim."""
    if entry["example"] is not None:
        yield Text()
        yield ink.text(entry["example_of"], "dim")
        yield from (ink.text(line) for line in entry["example"].splitlines())


def _splits(splits: Mapping[str, int | None], default: str) -> str:
    """``train 4500, test * 4927``: splits with their sizes where these are known, the default one marked."""
    return ", ".join(
        f"{split}{' *' if split == default else ''}{'' if rows is None else f' {rows}'}"
        for split, rows in splits.items()
    )
