"""Domains: texts of one kind, out of a named corpus, files of the user's, or the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actsim.data.checks import checked_text
from actsim.data.corpora import CORPORA, TEXT_COLUMN, Corpus
from actsim.data.corpus_files import read_split, require_columns, row_of
from actsim.data.files import Table
from actsim.data.own_texts import OwnTexts, read_own_texts
from actsim.data.prompt_forms import PromptForm, Row
from actsim.data.shots import SolvedExamples, solved_examples
from actsim.data.sources import data_folder
from actsim.errors import DataError, UsageError
from actsim.registry import refuse_repeated, unknown_name

OTHERWISE = (
    "Texts of your own: NAME=path/*.txt, NAME=file.jsonl:column or NAME=hf:owner/name:split:column; "
    "another split: NAME:split."
)


@dataclass(frozen=True)
class Domain:
    """The texts that samples of a domain are drawn from, each of them once.

    Attributes:
        name: how the domain is called.
        texts: prompts, texts, or pieces of running text, in order.
        ids: the corpus's own ids where it has some, row numbers, or file names.
        packed: whether the texts are running text, to be laid end to end; else each is a sample.
        split: the split they are from; None where there is none.
        shots: solved examples in front of each question.
        seed: by which solved examples were drawn; None without any.
        repeated: how many texts were left out because they were there already.
        source: ``kind`` (package, local, hub or file) and where the texts came from: path or hub id, revision, sha256.
    """

    name: str
    texts: tuple[str, ...]
    ids: tuple[str, ...]
    packed: bool
    split: str | None
    shots: int
    seed: int | None
    repeated: int
    source: dict[str, Any]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over ids and texts in order; equal exactly when all of these are."""
        digest = hashlib.sha256()
        for entry in zip(self.ids, self.texts, strict=True):
            digest.update(json.dumps(entry).encode("ascii") + b"\n")
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a manifest keeps of the domain: JSON-ready, and the same on every machine."""
        return {
            "name": self.name,
            "split": self.split,
            "shots": self.shots,
            "shots_seed": self.seed,
            "packed": self.packed,
            "n": len(self),
            "repeated": self.repeated,
            "source": dict(self.source),
            "fingerprint": self.fingerprint(),
        }


def load_domains(
    specs: Sequence[str], *, shots: int = 0, seed: int = 0, data_dir: str | Path | None = None
) -> tuple[Domain, ...]:
    """Load several domains, see ``load_domain``.

    Raises:
        UsageError: also where two domains have one name, or solved examples are asked for and no domain takes any.
    """
    check_domains(specs, shots)
    return tuple(load_domain(spec, shots=shots, seed=seed, data_dir=data_dir) for spec in specs)


def check_domains(specs: Sequence[str], shots: int = 0) -> None:
    """Raise UsageError for what can be told to be wrong before anything is read; see ``load_domains``."""
    read = [_read_spec(spec) for spec in specs]
    names = [name for name, _, _ in read]
    refuse_repeated("domain", names)
    if shots and not any(corpus is not None and corpus.form is not None for _, corpus, _ in read):
        with_form = ", ".join(name for name, corpus in CORPORA.items() if corpus.form is not None)
        raise UsageError(
            f"--shots {shots}: none of {', '.join(names)} asks questions; those that do: {with_form}. "
            "Leave --shots out."
        )


def load_domain(
    spec: str, *, split: str | None = None, shots: int = 0, seed: int = 0, data_dir: str | Path | None = None
) -> Domain:
    """Load the texts of a domain.

    Args:
        spec: the name of a corpus, ``NAME`` or ``NAME:split``, see ``actsim list domains``; or texts of one's own:
            ``NAME=path/*.py`` (running text), ``NAME=file.jsonl`` or ``NAME=file.jsonl:column`` (a text a row; csv, tsv
            and parquet too), ``NAME=hf:owner/name:split:column`` (a text a row of a hub data set;
            ``owner/name@REVISION`` for a revision other than ``main``, ``owner/name/folder`` for one folder of it).
        split: a split of the corpus, in place of ``NAME:split``.
        shots: solved examples in front of each question; corpora that ask none have none whatever is given here. They
            come from the corpus's split for it, or else from a quarter of the rows that is drawn and set aside.
        seed: by which solved examples are drawn, anew for every question.
        data_dir: folder with ``domains/<name>/<split>.jsonl`` (or csv, tsv, parquet). By default what the environment
            variable ACTSIM_DATA_DIR says; where neither is given, corpora come from the hub.

    Raises:
        UsageError: an unknown name or split, a pattern that no file matches, or what does not go together.
        DataError: the data is missing or unfit; names the file and the row.
    """
    if shots < 0:
        raise UsageError(f"--shots must be at least 0, got {shots}.")
    name, corpus, chosen = _read_spec(spec, split)
    if corpus is None:
        return _own_domain(read_own_texts(name, chosen))
    return _corpus_domain(name, corpus, chosen, shots, seed, data_folder(data_dir))


def _read_spec(spec: str, split: str | None = None) -> tuple[str, Corpus | None, str]:
    """The domain's name, and its corpus and split; where there is no corpus, the place of texts of one's own."""
    name, equals, place = spec.partition("=")
    if equals:
        if split is not None:
            raise UsageError(f"{spec}: texts of your own have no split, got {split!r}; leave the split out.")
        return name, None, place
    corpus, named_split = _named_corpus(spec)
    if split is not None and named_split is not None:
        raise UsageError(f"{spec}: two splits given, {named_split!r} and {split!r}; give one.")
    chosen = corpus.check_split(split or named_split or corpus.default_split)
    return corpus.name if chosen == corpus.default_split else f"{corpus.name}:{chosen}", corpus, chosen


def _named_corpus(spec: str) -> tuple[Corpus, str | None]:
    """The corpus that a name stands for, and the split that is named with it."""
    if spec in CORPORA:
        return CORPORA[spec], None
    name, colon, split = spec.partition(":")
    if colon and name in CORPORA:
        return CORPORA[name], split
    raise unknown_name("domain", spec, CORPORA, OTHERWISE)


def _own_domain(own: OwnTexts) -> Domain:
    kept = _kept(own.texts, packed=own.packed)
    return Domain(
        name=own.name,
        texts=tuple(own.texts[place] for place in kept),
        ids=tuple(own.ids[place] for place in kept),
        packed=own.packed,
        split=own.split,
        shots=0,
        seed=None,
        repeated=len(own.texts) - len(kept),
        source=own.source,
    )


def _corpus_domain(name: str, corpus: Corpus, split: str, shots: int, seed: int, folder: Path | None) -> Domain:
    table, source = read_split(corpus, split, folder)
    if corpus.form is None:
        rows, texts, repeated = _plain_texts(corpus, table)
        shots = 0
    else:
        solved = solved_examples(corpus, corpus.form, split, table, seed, folder) if shots else None
        rows, texts, repeated = _prompts(corpus.form, table, solved, shots, seed)
        source = {**source, "shots": solved.source} if solved else source
    if not texts:
        raise DataError(f"{table.label}: no text in it; replace the copy.")
    ids = tuple(str(table.columns[corpus.id_column][row]) if corpus.id_column else str(row) for row in rows)
    return Domain(name, texts, ids, corpus.packed, split, shots, seed if shots else None, repeated, source)


def _plain_texts(corpus: Corpus, table: Table) -> tuple[list[int], tuple[str, ...], int]:
    """Row numbers, texts without the line ends behind them, and how many were left out as repeated.

    Blank rows of running text are blank lines, and left out.
    """
    require_columns(table, [TEXT_COLUMN, *([corpus.id_column] if corpus.id_column else [])])
    values = table.columns[TEXT_COLUMN]
    blank = {row for row, value in enumerate(values) if corpus.packed and isinstance(value, str) and not value.strip()}
    rows = [row for row in range(len(table)) if row not in blank]
    what = f"the text (column {TEXT_COLUMN!r})"
    texts = [checked_text(values[row], table.where(row), what).rstrip("\n") for row in rows]
    kept = _kept(texts, packed=corpus.packed)
    return [rows[place] for place in kept], tuple(texts[place] for place in kept), len(texts) - len(kept)


def _prompts(
    form: PromptForm, table: Table, solved: SolvedExamples | None, shots: int, seed: int
) -> tuple[list[int], tuple[str, ...], int]:
    """Row numbers, prompts, and how many were left out because their question was there already."""
    require_columns(table, form.columns)
    rows = [row for row in range(len(table)) if solved is None or row not in solved.aside]
    questions = [_prompt(form, table, row) for row in rows]
    kept = _kept(questions, packed=False)
    repeated = len(questions) - len(kept)
    rows = [rows[place] for place in kept]
    if solved is None:
        return rows, tuple(questions[place] for place in kept), repeated
    draw = solved.drawer(shots, seed)
    return rows, tuple(_prompt(form, table, row, draw(row_of(table, row), row)) for row in rows), repeated


def _prompt(form: PromptForm, table: Table, row: int, shots: Sequence[Row] = ()) -> str:
    """The prompt of a row; DataError where its values are not those of the task."""
    try:
        prompt = form.prompt(row_of(table, row), shots)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{table.where(row)}: not a row of this task ({type(error).__name__}: {error}); replace the copy."
        ) from error
    return checked_text(prompt, table.where(row), "the prompt")


def _kept(texts: Sequence[str], *, packed: bool) -> list[int]:
    """Places of the texts: all where they are running text, else the first of those that are equal."""
    if packed:
        return list(range(len(texts)))
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(text, place)
    return list(first.values())
