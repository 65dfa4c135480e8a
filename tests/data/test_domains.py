"""Domains out of made-up copies of the corpora, files, and a hub cache laid out by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_cache import add_snapshot

from actsim.data.corpora import CORPORA
from actsim.data.domains import load_domain, load_domains
from actsim.errors import DataError, UsageError

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the machine's data nor the hub is seen; relative paths start in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTSIM_DATA_DIR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def numbered(name: str, count: int) -> list[dict[str, object]]:
    """Rows like the example of a corpus's form, the first text of each with a number of its own."""
    form = CORPORA[name].form
    first = form.columns[0]
    return [{**form.example, first: f"{form.example[first]} {row}"} for row in range(count)]


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A data directory with made-up copies of some corpora."""
    folder = tmp_path / "data" / "domains"
    write(folder / "gsm8k" / "test.jsonl", numbered("gsm8k", 6))
    write(folder / "gsm8k" / "train.jsonl", [{"question": f"Train {row}", "answer": f"{row}!"} for row in range(5)])
    write(folder / "hellaswag" / "validation.jsonl", numbered("hellaswag", 12))
    write(folder / "mmlu" / "test.jsonl", [{**row, "subject": "botany"} for row in numbered("mmlu", 4)])
    dev = [{**row, "subject": subject} for subject in ("botany", "law") for row in numbered("mmlu", 3)]
    write(folder / "mmlu" / "dev.jsonl", dev)
    lines = ["", " = Harbour = \n", "", " Boats come \n", " \n", " and go . \n"]
    write(folder / "wikitext2" / "train.jsonl", [{"text": line} for line in lines])
    return tmp_path / "data"


def test_rows_become_prompts_in_order(copies: Path) -> None:
    domain = load_domain("gsm8k", data_dir=copies)
    form = CORPORA["gsm8k"].form
    assert domain.texts == tuple(form.prompt(row) for row in numbered("gsm8k", 6))
    assert domain.ids == tuple("012345")
    assert (domain.name, domain.split, domain.shots, domain.seed, domain.packed) == ("gsm8k", "test", 0, None, False)
    assert domain.source["kind"] == "local" and len(domain.source["sha256"]) == 64
    assert domain == load_domain("gsm8k:test", data_dir=copies) == load_domain("gsm8k", split="test", data_dir=copies)


def test_blank_lines_of_running_text_are_left_out_and_spaces_stay(copies: Path) -> None:
    domain = load_domain("wikitext2", data_dir=copies)
    assert domain.texts == (" = Harbour = ", " Boats come ", " and go . ")
    assert domain.ids == ("1", "3", "5") and domain.packed


def test_a_question_that_is_there_twice_is_kept_once(copies: Path) -> None:
    rows = numbered("gsm8k", 3)
    write(copies / "domains" / "gsm8k" / "test.jsonl", [*rows, {**rows[1], "answer": "another"}, rows[0]])
    for shots in (0, 2):
        domain = load_domain("gsm8k", shots=shots, data_dir=copies)
        assert domain.ids == ("0", "1", "2") and domain.repeated == 2


def test_solved_examples_come_from_their_own_split_and_differ_by_seed(copies: Path) -> None:
    first, again, other = (load_domain("gsm8k", shots=2, seed=seed, data_dir=copies) for seed in (0, 0, 1))
    assert first == again and first.texts != other.texts
    zero = load_domain("gsm8k", data_dir=copies).texts
    for prompt, question in zip(first.texts, zero, strict=True):
        shots = prompt.removesuffix(question).strip().split("\n\n")
        assert len(set(shots)) == 2 and all(shot.startswith("Question: Train ") for shot in shots)
    assert first.source["shots"]["split"] == "train" and (first.shots, first.seed) == (2, 0)
    assert first.fingerprint() != other.fingerprint()


def test_rows_that_serve_as_examples_are_not_sampled(copies: Path) -> None:
    domain = load_domain("hellaswag", shots=3, data_dir=copies)
    questions = dict(enumerate(load_domain("hellaswag", data_dir=copies).texts))
    pool = [questions[int(name)] for name in domain.ids]
    aside = {text for text in questions.values() if text not in pool}
    assert len(aside) == 3 and domain.source["shots"]["set_aside"] == 3
    for prompt, question in zip(domain.texts, pool, strict=True):
        *shots, asked = prompt.split("\n\n")
        assert asked == question and {shot.removesuffix(" A") for shot in shots} == aside


def test_examples_of_mmlu_share_the_subject(copies: Path) -> None:
    for prompt in load_domain("mmlu", shots=3, data_dir=copies).texts:
        assert prompt.startswith("The following are multiple choice questions (with answers) about botany.\n\n")
        assert prompt.count("Answer: B") == 3
    with pytest.raises(DataError, match="4 solved examples wanted, 3 available with subject 'botany'"):
        load_domain("mmlu", shots=4, data_dir=copies)


def test_shots_act_where_there_are_questions_and_are_refused_where_nobody_asks(copies: Path) -> None:
    domains = load_domains(["wikitext2", "gsm8k"], shots=1, data_dir=copies)
    assert [domain.shots for domain in domains] == [0, 1]
    with pytest.raises(UsageError, match="--shots 1: none of wikitext2 asks questions"):
        load_domains(["wikitext2"], shots=1, data_dir=copies)


def test_a_domain_is_given_once(copies: Path) -> None:
    with pytest.raises(UsageError, match="gsm8k is given twice"):
        load_domains(["gsm8k", "gsm8k:test"], data_dir=copies)
    assert [domain.name for domain in load_domains(["gsm8k", "gsm8k:train"], data_dir=copies)] == [
        "gsm8k",
        "gsm8k:train",
    ]


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("boolk", {}, "unknown domain 'boolk'.*Did you mean 'boolq'"),
        ("gsm8k:tset", {}, "unknown split of gsm8k 'tset'.*'test'"),
        ("gsm8k:test", {"split": "train"}, "two splits given"),
        ("gsm8k", {"shots": -1}, "--shots must be at least 0"),
        ("mine=*.txt", {"split": "train"}, "no split"),
        ("mine=*.txt", {}, "no file matches"),
        ("mine=.", {}, "is a folder; give a pattern"),
        ("mine=", {}, "is a folder; give a pattern"),
        ("mine=**.py/**x", {}, "not a pattern|no file matches"),
        ("=notes.txt", {}, "cannot name texts"),
        ("c4=notes.txt", {}, "cannot name texts"),
        ("mine=hf:somebody:train", {}, "not understood"),
        ("mine=hf:some/body:train", {}, "not understood"),
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(spec: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_domain(spec, **options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"question": "One?"}, {"answer": "2"}],
            r"gsm8k/test.jsonl: data row 2 \(line 2\): the column 'question' has no",
        ),
        ([{"text": "One?"}], "no column 'question'; found text"),
        ([{"question": 7}], r"data row 1 \(line 1\): not a row of this task"),
        ([], "no column 'question'; found none"),
    ],
)
def test_rows_of_another_kind_are_named(copies: Path, rows: list[dict[str, object]], message: str) -> None:
    write(copies / "domains" / "gsm8k" / "test.jsonl", rows)
    with pytest.raises(DataError, match=message):
        load_domain("gsm8k", data_dir=copies)


def test_a_corpus_that_is_nowhere_says_where_it_was_looked_for(copies: Path) -> None:
    with pytest.raises(DataError, match=r"siqa: no such folder"):
        load_domain("siqa", data_dir=copies)
    with pytest.raises(DataError, match=r"allenai/c4 .* not in the Hugging Face cache .* domains/c4/train.jsonl"):
        load_domain("c4")


def test_files_are_pieces_of_running_text(tmp_path: Path) -> None:
    for path, text in (("a/x.py", "x = 1\r\n\r\n"), ("a/b/y.py", "y = 2"), ("a/z.py", " \n"), ("a/w.txt", "w")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    domain = load_domain("code=a/**/*.py")
    assert dict(zip(domain.ids, domain.texts, strict=True)) == {"b/y.py": "y = 2", "x.py": "x = 1"}
    assert domain.packed and domain.name == "code" and domain.split is None
    assert load_domain(f"code={tmp_path}/a/**/*.py") == domain
    (tmp_path / "a/x.py").write_text("x = 3")
    assert load_domain("code=a/**/*.py").source["sha256"] != domain.source["sha256"]


@pytest.mark.parametrize(
    ("files", "place", "error", "message"),
    [
        ({"a.txt": b" \n"}, "*.txt", DataError, "1 files match and none has text"),
        ({"a.txt": b"caf\xe9"}, "*.txt", DataError, "a.txt: line 1: byte 0xe9"),
        ({"a.txt": b"nul\0"}, "*.txt", DataError, "a.txt: the text has a NUL"),
        ({"a.txt": b"a", "b.jsonl": b"{}"}, "*", UsageError, "2 files match, among them the table b.jsonl"),
        ({"b.jsonl": b""}, "b.jsonl", DataError, "b.jsonl: the file is empty"),
        ({"b.jsonl": b'{"body": "x"}'}, "b.jsonl", DataError, "no column 'text'; found body"),
        ({"b.jsonl": b'{"body": "x"}\n{"body": " "}'}, "b.jsonl:body", DataError, "data row 2 .*body'. is empty"),
    ],
)
def test_files_that_are_unfit_are_named(
    tmp_path: Path, files: dict[str, bytes], place: str, error: type[Exception], message: str
) -> None:
    for name, data in files.items():
        (tmp_path / "own" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "own" / name).write_bytes(data)
    with pytest.raises(error, match=message):
        load_domain(f"mine=own/{place}")


def test_a_column_of_a_table_is_a_text_a_row_each_once(tmp_path: Path) -> None:
    write(tmp_path / "notes.jsonl", [{"text": word, "title": f"On {word}"} for word in ("tea", "rain", "tea")])
    domain = load_domain("notes=notes.jsonl")
    assert domain.texts == ("tea", "rain") and domain.ids == ("0", "1") and domain.repeated == 1
    assert not domain.packed
    assert load_domain("notes=notes.jsonl:title").texts == ("On tea", "On rain")


def parquet(rows: list[dict[str, object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def test_a_corpus_is_read_from_its_folder_on_the_hub_at_the_pinned_commit(tmp_path: Path) -> None:
    corpus = CORPORA["gsm8k"]
    files = {
        "main/test-00000-of-00001.parquet": parquet(numbered("gsm8k", 3)),
        "socratic/test-00000-of-00001.parquet": parquet([{"question": "another", "answer": "one"}]),
    }
    add_snapshot(tmp_path / "hub", corpus.hub_id, corpus.hub_revision, files)
    domain = load_domain("gsm8k")
    assert domain.texts == tuple(corpus.form.prompt(row) for row in numbered("gsm8k", 3))
    assert domain.source["revision"] == corpus.hub_revision and domain.source["kind"] == "hub"


def test_a_corpus_in_the_hubs_own_conversion_records_its_commit(tmp_path: Path) -> None:
    corpus = CORPORA["siqa"]
    files = {
        f"default/{split}/0000.parquet": parquet(numbered("siqa", count))
        for split, count in {"train": 5, "validation": 2}.items()
    }
    add_snapshot(tmp_path / "hub", corpus.hub_id, COMMIT, files, corpus.hub_revision)
    domain = load_domain("siqa")
    assert len(domain) == 2 and domain.source["revision"] == COMMIT
    assert domain.source["revision_asked"] == corpus.hub_revision


def test_of_c4_on_the_hub_the_first_documents_are_read(tmp_path: Path) -> None:
    corpus = CORPORA["c4"]
    lines = "".join(json.dumps({"text": f"Page {row}\nends", "url": ""}) + "\n" for row in range(corpus.hub_rows + 5))
    files = {"en/c4-train.00000-of-01024.json.gz": gzip.compress(lines.encode())}
    add_snapshot(tmp_path / "hub", corpus.hub_id, corpus.hub_revision, files)
    domain = load_domain("c4")
    assert domain.texts == tuple(f"Page {row}\nends" for row in range(corpus.hub_rows)) and domain.packed


def test_texts_of_a_hub_data_set(tmp_path: Path) -> None:
    files = {"en/train-00000-of-00001.parquet": parquet([{"body": "tea"}, {"body": "rain"}])}
    add_snapshot(tmp_path / "hub", "some/body", COMMIT, files, "main")
    domain = load_domain("weather=hf:some/body/en:train:body")
    assert domain.texts == ("tea", "rain") and domain.split == "train" and domain.source["revision"] == COMMIT
    assert load_domain(f"weather=hf:some/body@{COMMIT}:train:body").texts == domain.texts
    with pytest.raises(UsageError, match="no folder 'de'"):
        load_domain("weather=hf:some/body/de:train:body")
    with pytest.raises(DataError, match="no column 'text'; found body"):
        load_domain("weather=hf:some/body/en:train:text")


@pytest.mark.parametrize("name", [name for name in CORPORA if not name.startswith("sample:")])
def test_the_local_copies_of_the_corpora_load(name: str, data_dir: Path) -> None:
    if not (data_dir / "domains" / name).is_dir():
        pytest.skip(f"no local copy of {name}")
    domain = load_domain(name, shots=1, data_dir=data_dir)
    assert len(domain) >= 64 and all(text.strip() for text in domain.texts)
    assert len(set(domain.ids)) == len(domain.ids)
    corpus = CORPORA[name]
    assert domain.packed or len(set(domain.texts)) == len(domain)
    assert domain.shots == (corpus.form is not None)
