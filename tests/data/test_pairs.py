from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actsim.data.benchmarks import SICK
from actsim.data.pairs import PairSet, load_pairs
from actsim.errors import ActsimError, DataError, UsageError

ROWS = [
    ("A cat sleeps.", "A cat is asleep.", 4.5),
    ("It rains.", "The sun shines.", 1.25),
    (" NA ", "null", 3.0),
    ("One &amp; two", '"Two', 2.0),
    ("Fifth\u00a0", "5", 5.0),
]


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTSIM_DATA_DIR", raising=False)


def write_jsonl(path: Path, rows, names=("sentence1", "sentence2", "score")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows), encoding="utf-8")
    return path


def write_tsv(path: Path, rows, header: str = "sentence1\tsentence2\tscore") -> Path:
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def many(count: int) -> list[tuple[str, str, float]]:
    return [(f"Sentence {row}", f"Other {row}", 1 + 4 * (row % 7) / 6) for row in range(count)]


def test_all_formats_give_the_same_pairs(tmp_path) -> None:
    sets = [
        load_pairs(str(write_jsonl(tmp_path / "p.jsonl", ROWS))),
        load_pairs(str(write_tsv(tmp_path / "p.tsv", ROWS))),
    ]
    columns = dict(zip(("sentence1", "sentence2", "score"), map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    sets.append(load_pairs(str(tmp_path / "p.parquet")))
    (tmp_path / "p.csv").write_text(
        "sentence1,sentence2,score\n" + "".join('{},"{}",{}\n'.format(a, b.replace('"', '""'), g) for a, b, g in ROWS)
    )
    sets.append(load_pairs(str(tmp_path / "p.csv")))
    for pairs in sets:
        assert pairs.sentences_a == tuple(row[0] for row in ROWS)
        assert pairs.sentences_b == tuple(row[1] for row in ROWS)
        np.testing.assert_array_equal(pairs.gold, [row[2] for row in ROWS])
    assert len({pairs.fingerprint() for pairs in sets}) == 1


def test_a_file_is_identified_without_its_folder(tmp_path) -> None:
    pairs = load_pairs(str(write_jsonl(tmp_path / "p.jsonl", ROWS)))
    assert pairs.split == "all"
    assert pairs.ids == ("0", "1", "2", "3", "4")
    identity = json.dumps([pairs.identity(), pairs.source])
    assert str(tmp_path) not in identity
    assert pairs.identity()["n"] == len(pairs) == 5
    assert pairs.identity()["selection"] == {"of": 5}


def test_gold_scores_cannot_be_written(tmp_path) -> None:
    pairs = load_pairs(str(write_jsonl(tmp_path / "p.jsonl", ROWS)))
    assert pairs.gold.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        pairs.gold[0] = 1.0


def test_the_fingerprint_depends_on_ids_texts_scores_and_order() -> None:
    def fingerprint(ids=("1", "2"), a=("x", "y"), b=("u", "v"), gold=(1.0, 2.0)) -> str:
        return PairSet("p", "all", ids, (0, 1), a, b, np.array(gold), None, {}, {"of": 2}).fingerprint()

    variants = [
        fingerprint(),
        fingerprint(ids=("1", "3")),
        fingerprint(a=("xy", "")),
        fingerprint(b=("v", "u")),
        fingerprint(gold=(1.0, np.nextafter(2.0, 3.0))),
        fingerprint(("2", "1"), ("y", "x"), ("v", "u"), (2.0, 1.0)),
    ]
    assert len(set(variants)) == len(variants)
    canonical = b'["1", "x", "u", 1.0]\n["2", "y", "v", 2.0]\n'
    assert fingerprint() == hashlib.sha256(canonical).hexdigest()


def test_ids_come_from_the_data_where_it_has_them(tmp_path) -> None:
    rows = [(*row, 10 * number) for number, row in enumerate(ROWS)]
    path = write_jsonl(tmp_path / "p.jsonl", rows, ("text_a", "text_b", "gold", "key"))
    assert load_pairs(str(path)).ids == ("0", "1", "2", "3", "4")
    assert load_pairs(str(path), columns={"id": "key"}).ids == ("0", "10", "20", "30", "40")


def test_an_id_that_two_rows_have_is_refused_with_both(tmp_path) -> None:
    rows = [(*row, name) for row, name in zip(ROWS, "abcbd", strict=True)]
    path = write_jsonl(tmp_path / "p.jsonl", rows, ("text_a", "text_b", "gold", "id"))
    with pytest.raises(DataError, match=r"p\.jsonl: data row 4 \(line 4\): the id 'b' \(column 'id'\) is .* row 2"):
        load_pairs(str(path))
    renamed = write_jsonl(tmp_path / "q.jsonl", rows, ("text_a", "text_b", "gold", "key"))
    assert load_pairs(str(renamed)).ids == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_a_nul_character_is_refused_with_its_row(tmp_path, ending) -> None:
    rows = [*ROWS[:2], ("a do\0g", "a cat", 2.0), *ROWS[2:]]
    write = {"jsonl": write_jsonl, "tsv": write_tsv}.get(ending)
    path = tmp_path / f"p.{ending}"
    if write is not None:
        write(path, rows)
    else:
        quoted = [",".join('"{}"'.format(str(cell).replace('"', '""')) for cell in row) for row in rows]
        path.write_text("\n".join(["a,b,score", *quoted]), encoding="utf-8")
    with pytest.raises(DataError, match=r"data row 3 \(line [34]\): the first sentence .* has a NUL character"):
        load_pairs(str(path))


def test_columns_can_be_named(tmp_path) -> None:
    path = write_tsv(tmp_path / "p.tsv", ROWS, "links\trechts\twert")
    pairs = load_pairs(str(path), columns={"a": "rechts", "b": "links", "gold": "wert"})
    assert pairs.sentences_a == tuple(row[1] for row in ROWS)


@pytest.mark.parametrize(
    ("header", "columns", "error", "message"),
    [
        (
            "text_a\ttext_b\tx",
            {},
            DataError,
            "p.tsv: no column 'score'; found text_a, text_b, x. Pass --columns gold=NAME.",
        ),
        ("a\tb\tscore", {"gold": "wert"}, DataError, "p.tsv: no column 'wert'; found a, b, score."),
        ("a\tb\tscore", {"id": "key"}, DataError, "no column 'key'"),
        ("a\tleft\tscore", {}, DataError, "columns 'left' and 'a' could each be the first sentence"),
        ("a\tb\tscore", {"golt": "score"}, UsageError, "unknown column role 'golt'.*Did you mean 'gold'"),
        ("a\tb\tscore", {"b": "a"}, UsageError, "columns a and b are both 'a'"),
    ],
)
def test_unclear_columns_are_errors(tmp_path, header, columns, error, message) -> None:
    with pytest.raises(error, match=message):
        load_pairs(str(write_tsv(tmp_path / "p.tsv", ROWS, header)), columns=columns)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("", "x", 1), r"p.jsonl: data row 4 \(line 4\): the first sentence \(column 'sentence1'\) is empty"),
        (("x", " \t\u00a0", 1), r"data row 4 \(line 4\): the second sentence \(column 'sentence2'\) is empty"),
        (("x", None, 1), "second sentence .* is missing"),
        (("x", 7, 1), "second sentence .* is not text but a number"),
        (("x", "\ud800", 1), "half of a surrogate pair"),
        (("x", "y", None), "data row 4 .*gold score .* is missing"),
        (("x", "y", " "), "gold score .* is missing"),
        (("x", "y", "high"), "gold score .* is 'high', not a finite number"),
        (("x", "y", "4,5"), "'4,5', not a finite number"),
        (("x", "y", "1_0"), "'1_0', not a finite number"),
        (("x", "y", "nan"), "not a finite number"),
        (("x", "y", float("nan")), "not a finite number"),
        (("x", "y", float("inf")), "not a finite number"),
        (("x", "y", "1e999"), "not a finite number"),
        (("x", "y", 10**400), "not a finite number"),
        (("x", "y", True), "not a finite number"),
        (("x", "y", [1]), "not a finite number"),
    ],
)
def test_an_unfit_row_is_named(tmp_path, bad, message) -> None:
    path = write_jsonl(tmp_path / "p.jsonl", [*ROWS[:3], bad, ROWS[4]])
    with pytest.raises(DataError, match=message):
        load_pairs(str(path))
    with pytest.raises(DataError, match=message):
        load_pairs(str(path), first=3)


def test_the_line_of_a_text_file_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"p\.tsv: data row 3 \(line 4\): the gold score .* is 'x'"):
        load_pairs(str(write_tsv(tmp_path / "p.tsv", [*ROWS[:2], ("a", "b", "x")])))


def test_a_missing_id_is_named(tmp_path) -> None:
    path = write_jsonl(tmp_path / "p.jsonl", [(*row, "") for row in ROWS], ("sentence1", "sentence2", "score", "id"))
    with pytest.raises(DataError, match=r"data row 1 .*the id .* is missing"):
        load_pairs(str(path))


def test_too_few_pairs_and_constant_scores_are_errors(tmp_path) -> None:
    with pytest.raises(DataError, match=r"two\.tsv: 2 pairs; a correlation needs at least 3"):
        load_pairs(str(write_tsv(tmp_path / "two.tsv", ROWS[:2])))
    with pytest.raises(DataError, match=r"same.tsv: every gold score \(column 'score'\) is 3"):
        load_pairs(str(write_tsv(tmp_path / "same.tsv", [(a, b, 3.0) for a, b, _ in ROWS])))
    path = write_tsv(tmp_path / "start.tsv", [(a, b, 5.0 if row < 3 else 1.0) for row, (a, b, _) in enumerate(ROWS)])
    with pytest.raises(DataError, match="the 3 selected pairs all have the gold score 5"):
        load_pairs(str(path), first=3)


def test_limit_is_a_seeded_sample_in_the_order_of_the_file(tmp_path) -> None:
    path = str(write_jsonl(tmp_path / "p.jsonl", many(100)))
    one, again, other = (load_pairs(path, limit=20, seed=seed) for seed in (1, 1, 2))
    assert one.rows == again.rows == tuple(sorted(set(one.rows)))
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    assert len(one) == 20
    assert one.rows != tuple(range(20))
    assert one.sentences_a == tuple(f"Sentence {row}" for row in one.rows)
    assert one.selection == {"limit": 20, "seed": 1, "of": 100}


def test_first_takes_the_first_rows(tmp_path) -> None:
    pairs = load_pairs(str(write_jsonl(tmp_path / "p.jsonl", many(50))), first=7)
    assert pairs.rows == tuple(range(7))
    assert pairs.selection == {"first": 7, "of": 50}


@pytest.mark.parametrize("option", [{"limit": 50}, {"limit": 999}, {"first": 50}, {"first": 999}])
def test_a_selection_of_everything_is_no_selection(tmp_path, option) -> None:
    path = str(write_jsonl(tmp_path / "p.jsonl", many(50)))
    assert load_pairs(path, **option).identity() == load_pairs(path).identity()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"limit": 2}, "--limit must be at least 3, got 2"),
        ({"first": 0}, "--first must be at least 3, got 0"),
        ({"first": 5, "limit": 5}, "exclude each other"),
        ({"split": "test"}, "has no split, got 'test'"),
        ({"release": "hub"}, "has no release"),
        ({"revision": "main"}, "has no revision"),
    ],
)
def test_options_that_cannot_act_are_refused(tmp_path, option, message) -> None:
    with pytest.raises(UsageError, match=message):
        load_pairs(str(write_jsonl(tmp_path / "p.jsonl", ROWS)), **option)


def test_a_data_set_that_is_not_there_is_refused_with_a_hint(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'stsb'.*Did you mean 'sts-b'.*path to a csv, tsv, jsonl"):
        load_pairs("stsb")
    with pytest.raises(UsageError, match=r"nowhere\.csv: no such file"):
        load_pairs(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UsageError, match="is a folder; give a file in it"):
        load_pairs(str(tmp_path))
    (tmp_path / "pairs.xlsx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"a file ending in '\.xlsx' cannot be read; allowed: \.csv"):
        load_pairs(str(tmp_path / "pairs.xlsx"))


def test_a_local_benchmark_is_found_in_any_format(tmp_path, monkeypatch) -> None:
    write_jsonl(tmp_path / "stsb" / "test.jsonl", ROWS)
    pairs = load_pairs("sts-b", data_dir=tmp_path)
    assert (pairs.name, pairs.split, pairs.score_range) == ("sts-b", "test", (0.0, 5.0))
    assert pairs.source["path"] == "stsb/test.jsonl"
    assert pairs.identity()["release"] == "unknown, 5 rows"
    (tmp_path / "stsb" / "test.jsonl").unlink()
    write_tsv(tmp_path / "stsb" / "test.tsv", ROWS)
    monkeypatch.setenv("ACTSIM_DATA_DIR", str(tmp_path))
    assert load_pairs("sts-b").fingerprint() == pairs.fingerprint()


def test_the_split_must_be_there_once(tmp_path) -> None:
    write_jsonl(tmp_path / "stsb" / "train.jsonl", ROWS)
    with pytest.raises(UsageError, match="no file for the split 'test'; splits found: train"):
        load_pairs("sts-b", data_dir=tmp_path)
    write_tsv(tmp_path / "stsb" / "train.tsv", ROWS)
    with pytest.raises(DataError, match=r"train\.jsonl and train\.tsv could each be the split 'train'"):
        load_pairs("sts-b", "train", data_dir=tmp_path)
    with pytest.raises(UsageError, match=r"unknown split of sts-b 'trian'.*Did you mean 'train'"):
        load_pairs("sts-b", "trian", data_dir=tmp_path)
    with pytest.raises(DataError, match="sick: no such folder"):
        load_pairs("sick", data_dir=tmp_path)


@pytest.mark.parametrize(
    "names", [("sentence_A", "sentence_B", "relatedness_score"), ("sentence1", "sentence2", "score")]
)
def test_sick_is_read_under_each_spelling_and_says_its_release(tmp_path, names) -> None:
    write_jsonl(tmp_path / "sick" / "validation.jsonl", many(SICK.releases[1].rows["validation"]), names)
    pairs = load_pairs("sick", "validation", data_dir=tmp_path)
    assert pairs.identity()["release"] == pairs.source["release"] == "hub"
    assert load_pairs("sick", "validation", data_dir=tmp_path, release="hub").fingerprint() == pairs.fingerprint()
    with pytest.raises(
        DataError, match=r"release 'semeval' of sick has 500 pairs in validation, .* 495 \(release: hub\)"
    ):
        load_pairs("sick", "validation", data_dir=tmp_path, release="semeval")


def test_scores_on_another_scale_are_refused(tmp_path) -> None:
    write_jsonl(tmp_path / "stsb" / "test.jsonl", [(a, b, gold / 5) for a, b, gold in ROWS])
    with pytest.raises(DataError, match=r"stsb/test.jsonl: no gold score .* is above 1 on a scale of 0 to 5.*rescaled"):
        load_pairs("sts-b", data_dir=tmp_path)
    write_jsonl(tmp_path / "stsb" / "test.jsonl", [(a, b, gold + 1) for a, b, gold in ROWS])
    with pytest.raises(DataError, match=r"data row 1 \(line 1\): the gold score .* is 5.5, outside of 0 to 5"):
        load_pairs("sts-b", data_dir=tmp_path)


def test_a_revision_is_refused_where_the_hub_is_not_read(tmp_path) -> None:
    with pytest.raises(UsageError, match="is for data from the hub, but sts-b is read from"):
        load_pairs("sts-b", data_dir=tmp_path, revision="main")
    with pytest.raises(UsageError, match="read from the package"):
        load_pairs("sample", revision="main")


def test_errors_are_one_line(tmp_path) -> None:
    for dataset, options in (
        ("stsb", {}),
        (str(tmp_path), {}),
        ("sts-b", {"data_dir": tmp_path}),
        ("sick", {"split": "x"}),
    ):
        with pytest.raises(ActsimError) as caught:
            load_pairs(dataset, **options)
        assert "\n" not in str(caught.value)


def test_the_sample_is_whole() -> None:
    from importlib import resources

    pairs = load_pairs("sample")
    assert (pairs.name, pairs.split, pairs.source["kind"]) == ("sample", "test", "package")
    assert len(pairs) >= 200
    assert len(set(pairs.ids)) == len(pairs)
    assert pairs.gold.min() >= 0
    assert pairs.gold.max() <= 5
    lines = (resources.files("actsim.data.sample") / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    both = np.array([[json.loads(line)[name] for name in ("score_1", "score_2")] for line in lines])
    np.testing.assert_allclose(pairs.gold, both.mean(axis=1), atol=1e-9)


def test_importing_the_data_package_loads_no_heavy_library() -> None:
    heavy = ("pandas", "pyarrow", "datasets", "huggingface_hub", "torch", "transformers")
    code = f"import sys, actsim.data.pairs; print([name for name in {heavy!r} if name in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("sts-b", {"train": 5749, "validation": 1500, "test": 1379}),
        ("sick", {"train": 4500, "validation": 500, "test": 4927}),
    ],
)
def test_the_real_splits_have_their_published_sizes(data_dir, name, sizes) -> None:
    sets = {split: load_pairs(name, split, data_dir=data_dir) for split in sizes}
    assert {split: len(pairs) for split, pairs in sets.items()} == sizes
    assert {pairs.source["release"] for pairs in sets.values()} == {"stsbenchmark" if name == "sts-b" else "semeval"}
    assert len({pairs.fingerprint() for pairs in sets.values()}) == 3
    assert load_pairs(name, data_dir=data_dir).fingerprint() == sets["test"].fingerprint()


def test_sick_keeps_its_own_ids_and_edge_spaces(data_dir) -> None:
    raw = [
        json.loads(line) for line in (data_dir / "sick" / "test.jsonl").read_text(encoding="utf-8").split("\n") if line
    ]
    pairs = load_pairs("sick", data_dir=data_dir)
    assert pairs.ids == tuple(row["id"] for row in raw)
    assert pairs.sentences_a == tuple(row["sentence_A"] for row in raw)
    assert pairs.sentences_b == tuple(row["sentence_B"] for row in raw)
    assert any(text != text.strip() for text in pairs.sentences_a + pairs.sentences_b)
