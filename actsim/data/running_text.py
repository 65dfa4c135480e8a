"""One long text out of a corpus or files, as perplexity is taken of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actsim.data.checks import checked_text
from actsim.data.corpora import CORPORA, TEXT_COLUMN, Corpus
from actsim.data.corpus_files import read_split, require_columns
from actsim.data.domains import OTHERWISE, Domain, load_domain
from actsim.data.own_texts import read_own_texts
from actsim.data.sources import data_folder
from actsim.errors import UsageError
from actsim.registry import unknown_name

JOINT = "\n\n"
"""What stands between two rows, as in Wanda's and SparseGPT's loaders of WikiText-2."""

EVALUATED = ("test", "validation")
"""The split that is read where none is named: the first of these that a corpus has, else its own default."""


@dataclass(frozen=True)
class RunningText:
    """Rows of a corpus or of files, joined to one text.

    Attributes:
        name: how the text is called.
        split: where it is from a corpus.
        rows: how many rows were joined.
        text: all of it.
        source: ``kind`` and where it came from, see ``Domain``.
    """

    name: str
    split: str | None
    rows: int
    text: str
    source: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """What makes it this text and no other, ready for JSON."""
        return {
            "name": self.name,
            "split": self.split,
            "rows": self.rows,
            "characters": len(self.text),
            "sha256": hashlib.sha256(self.text.encode()).hexdigest(),
            "source": dict(self.source),
        }


def load_running_text(spec: str, *, data_dir: str | Path | None = None) -> RunningText:
    """Read a text: the rows of a split, joined by blank lines.

    Rows of running text (WikiText-2, C4) are joined as they are stored, empty ones and line ends included; of corpora
    that ask questions the prompts are joined; of one's own files, the files or the rows of a column.

    Args:
        spec: a corpus, ``NAME`` or ``NAME:split``; a file, ``notes.txt`` or ``file.jsonl:column`` (csv, tsv, parquet);
            or texts of one's own as ``load_domain`` takes them, ``NAME=path/*.txt``.
        data_dir: see ``load_domain``.

    Raises:
        UsageError: an unknown name or split, or a pattern that no file matches.
        DataError: the data is missing or unfit.
    """
    name, equals, place = spec.partition("=")
    if equals:
        return _own_text(name, place)
    name, split = (spec, "") if spec in CORPORA else spec.partition(":")[::2]
    if name in CORPORA:
        corpus = CORPORA[name]
        chosen = corpus.check_split(split or _evaluated_split(corpus))
        if corpus.form is None:
            return _rows_as_stored(corpus, chosen, data_folder(data_dir))
        return _joined(load_domain(name, split=chosen, data_dir=data_dir))
    path = spec if Path(spec).is_file() or ":" not in spec else spec.rpartition(":")[0]
    if Path(path).is_file():
        return _own_text(Path(path).name, spec)
    if Path(path).suffix:
        raise UsageError(f"{path}: no such file; check the path (the working directory is {Path.cwd()}).")
    raise unknown_name("data", spec, CORPORA, f"Or a file. {OTHERWISE}")


def _evaluated_split(corpus: Corpus) -> str:
    return next((split for split in EVALUATED if split in corpus.splits), corpus.default_split)


def _rows_as_stored(corpus: Corpus, split: str, folder: Path | None) -> RunningText:
    table, source = read_split(corpus, split, folder)
    require_columns(table, [TEXT_COLUMN])
    rows = [str(row) for row in table.columns[TEXT_COLUMN]]
    text = checked_text(JOINT.join(rows), table.label, "the text")
    return RunningText(corpus.name, split, len(rows), text, source)


def _joined(domain: Domain) -> RunningText:
    return RunningText(domain.name, domain.split, len(domain), JOINT.join(domain.texts), domain.source)


def _own_text(name: str, place: str) -> RunningText:
    own = read_own_texts(name, place)
    return RunningText(own.name, own.split, len(own.texts), JOINT.join(own.texts), own.source)
