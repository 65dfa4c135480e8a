"""Wrong inputs: one line each, which names what is wrong, and an exit status; never a traceback."""

from __future__ import annotations

import click
import pytest
from pair_files import made_up_pairs, write_csv

from actsim.errors import DataError, ModelError, ResumeError, UsageError
from actsim.pipelines.correlation import Band
from actsim_cli.option_types import BandType

USAGE, FAILURE = UsageError.exit_code, DataError.exit_code

WITHOUT_A_MODEL = {
    "unknown command": (["evaluate"], USAGE, "No such command 'evaluate'"),
    "unknown option": (["eval", "sample", "--layrs", "3"], USAGE, "--layers"),
    "hint at the help": (["eval", "sample", "--limit", "many"], USAGE, "Try 'actsim eval --help'."),
    "no data set": (["eval"], USAGE, "sts-b, sick, sample, or a path"),
    "unknown data set": (["eval", "stsb"], USAGE, "Did you mean 'sts-b'?"),
    "no such file": (["eval", "nothing/pairs.csv"], USAGE, "no such file"),
    "a folder": (["eval", "."], USAGE, "is a folder"),
    "unknown split": (["eval", "sample", "--split", "dev"], USAGE, "unknown split of sample 'dev'"),
    "unknown release": (["eval", "sick", "--release", "old"], USAGE, "semeval"),
    "limit and first": (["eval", "sample", "--limit", 9, "--first", 9], USAGE, "exclude each other"),
    "too small a limit": (["eval", "sample", "--limit", 2], USAGE, "--limit must be at least 3"),
    "columns without a role": (["eval", "sample", "--columns", "left,right"], USAGE, "ROLE=NAME"),
    "a role twice": (["eval", "sample", "--columns", "a=x,a=y"], USAGE, "given twice"),
    "an unknown role": (["eval", "sample", "--columns", "a=sentence1,z=y"], USAGE, "unknown column role 'z'"),
    "an absent column": (["eval", "sample", "--columns", "gold=grade"], FAILURE, "no column 'grade'"),
    "no data in the folder": (["eval", "sts-b", "--data-dir", "nowhere"], FAILURE, "no such folder"),
    "a data folder for a file": (["eval", "sample", "--data-dir", "."], USAGE, "--data-dir acts on sts-b, sick"),
    "a revision for the package": (["eval", "sample", "--data-revision", "main"], USAGE, "leave it out"),
    "not in the cache": (["eval", "sts-b"], FAILURE, "--data-dir or ACTSIM_DATA_DIR"),
    "band on the same split": (["eval", "sts-b", "--select-on", "test"], USAGE, "train, validation"),
    "band on the same split, named": (
        ["eval", "sick", "--split", "train", "--select-on", "train"],
        USAGE,
        "choose the band on another one",
    ),
    "two bands": (["eval", "sts-b", "--select-on", "validation", "--layers", "deep"], USAGE, "exclude each other"),
    "unknown measure": (["eval", "sample", "--measure", "cosin"], USAGE, "Did you mean 'cosine'?"),
    "a measure twice": (["eval", "sample", "--measure", "cosine", "--measure", "cosine"], USAGE, "given twice"),
    "unknown pattern": (["eval", "sample", "--pattern", "absolute"], USAGE, "unknown pattern 'absolute'"),
    "signed ruzicka": (
        ["eval", "sample", "--pattern", "signed-weighted", "--measure", "ruzicka"],
        USAGE,
        "allows the measure cosine only",
    ),
    "gamma without sets": (["eval", "sample", "--gamma", "1e-5"], USAGE, "jaccard and overlap"),
    "gamma without sets, named": (["eval", "sample", "--gamma", "1"], USAGE, "--gamma and --top-fraction act on"),
    "a negative gamma": (["eval", "sample", "--measure", "overlap", "--gamma", "-1"], USAGE, "--gamma must be"),
    "two thresholds": (
        ["eval", "sample", "--measure", "jaccard", "--gamma", 1, "--top-fraction", 0.1],
        USAGE,
        "exclude each other",
    ),
    "too large a fraction": (
        ["eval", "sample", "--measure", "jaccard", "--top-fraction", 2],
        USAGE,
        "--top-fraction must be in (0, 1]",
    ),
    "unknown objective": (["eval", "sample", "--objective", "nil"], USAGE, "Did you mean 'nll'?"),
    "layers of another form": (
        ["eval", "sample", "--layers", "upper"],
        USAGE,
        "'--layers': 'upper' is neither a layer",
    ),
    "reversed layers": (["eval", "sample", "--layers", "1,5-3"], USAGE, "5-3 is reversed; write 3-5"),
    "layer zero": (["eval", "sample", "--layers", "0-3"], USAGE, "layers count from 1"),
    "unknown layout": (["info", "--device-map", "evenly"], USAGE, "known: auto, sequential"),
    "unknown template": (["eval", "sample", "--template", "ecco"], USAGE, "Did you mean 'echo'?"),
    "a template without a text": (["score", "a", "b", "--template", "say it"], USAGE, "{text} stands"),
    "three texts": (["eval", "sample", "--template", "{text}" * 3], USAGE, "3 times"),
    "unknown control": (["eval", "sample", "--control", "random"], USAGE, "Did you mean 'random-weights'?"),
    "a control twice": (["eval", "sample", *("--control", "random-weights") * 2], USAGE, "given twice"),
    "a seed of no control": (["eval", "sample", "--control-seed", 1], USAGE, "acts together with --control only"),
    "negative seed": (["eval", "sample", "--seed", "-1"], USAGE, "--seed"),
    "no resamples": (["eval", "sample", "--resamples", "0"], USAGE, "--resamples"),
    "level of one": (["eval", "sample", "--level", "1"], USAGE, "--level"),
    "no tokens": (["eval", "sample", "--batch-tokens", "0"], USAGE, "--batch-tokens"),
    "no threads": (["eval", "sample", "--threads", "0"], USAGE, "--threads"),
    "quiet and verbose": (["list", "-v"], USAGE, "--quiet and --verbose exclude"),
    "no such model": (["eval", "sample", "-m", "no/such/folder"], USAGE, "no such folder"),
    "model not in the cache": (["info", "owner/absent"], FAILURE, "HF_HUB_OFFLINE"),
    "unknown family": (["info", "--family", "decoder"], USAGE, "unknown family 'decoder'"),
    "unknown device": (["info", "--device", "tpu"], USAGE, "unknown device 'tpu'"),
    "unknown dtype": (["info", "--dtype", "int8"], USAGE, "unknown dtype 'int8'"),
    "one sentence": (["score", "a dog"], USAGE, "SENTENCE_B"),
    "an empty sentence": (["score", "a dog", " "], USAGE, "the sentence is empty"),
    "top without explain": (["score", "a dog", "a cat", "--top", 3], USAGE, "--explain"),
    "unknown list": (["list", "models"], USAGE, "datasets"),
    "no task": (["tasks", "-m", "llama"], USAGE, "give --task NAME at least once: boolq, siqa"),
    "unknown task": (["tasks", "-m", "llama", "--task", "bolq"], USAGE, "Did you mean 'boolq'?"),
    "a task twice": (["tasks", "-m", "llama", *("--task", "piqa") * 2], USAGE, "given twice"),
    "no model for tasks": (["tasks", "--task", "boolq"], USAGE, "Missing option '-m' / '--model'"),
    "no questions": (["tasks", "-m", "llama", "--task", "boolq", "--limit", 0], USAGE, "--limit"),
    "no data for a task": (
        ["tasks", "-m", "llama", "--task", "siqa", "--data-dir", "nowhere"],
        FAILURE,
        "siqa is looked for in siqa/validation.jsonl",
    ),
    "resamples of no difference": (
        ["tasks", "-m", "llama", "--task", "boolq", "--resamples", 9],
        USAGE,
        "acts together with --against only",
    ),
}
"""Arguments, exit status, and what the line says."""

WITH_A_MODEL = {
    "objective of another family": (["eval", "PAIRS", "-m", "BERT", "--objective", "nll"], USAGE, "embedding-norm"),
    "the same for two sentences": (["score", "a", "b", "-m", "LLAMA", "--objective", "embedding-norm"], USAGE, "nll"),
    "family of another model": (["info", "BERT", "--family", "causal"], USAGE, "use family encoder"),
    "a template for an encoder": (["eval", "PAIRS", "-m", "BERT", "--template", "echo"], USAGE, "loaded as encoder"),
    "no room in the template": (
        ["eval", "PAIRS", "-m", "LLAMA", "--template", "echo", "--max-tokens", 5],
        USAGE,
        "leaves no room for the text",
    ),
    "a layer too many": (["eval", "PAIRS", "-m", "BERT", "--layers", "2-4"], USAGE, "layer 4 does not exist"),
    "no band": (["score", "a", "b", "-m", "BERT", "--layers", "upper"], USAGE, "'upper' is neither a layer"),
    "a device beside a layout": (
        ["info", "BERT", "--device", "cpu", "--device-map", "auto"],
        USAGE,
        "exclude each other",
    ),
    "too long, named": (["info", "BERT", "--max-tokens", 4096], USAGE, "--max-tokens 4096: this model"),
    "too long": (["eval", "PAIRS", "-m", "BERT", "--max-tokens", 4096], USAGE, "this model takes"),
    "a revision for a folder": (["info", "BERT", "--revision", "main"], USAGE, "is a local folder"),
    "a level that is no number": (["eval", "PAIRS", "-m", "BERT", "--level", "nan"], USAGE, "not a finite number"),
    "a foreign directory": (["eval", "PAIRS", "-m", "BERT", "--out", "FULL"], FAILURE, "holds no actsim run"),
    "a file for a directory": (["eval", "PAIRS", "-m", "BERT", "--out", "PAIRS"], USAGE, "--out takes a directory"),
    "signed shares": (["score", "a", "b", "-m", "BERT", "--explain", "--pattern", "signed-weighted"], USAGE, "shares"),
}


def assert_one_error_line(result, status, says):
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("actsim: error: ")
    assert says in result.stderr
    assert result.exit_code == status


@pytest.mark.parametrize("name", WITHOUT_A_MODEL)
def test_a_wrong_input_is_answered_by_one_line(invoke, name):
    args, status, says = WITHOUT_A_MODEL[name]
    assert_one_error_line(invoke(*args, "-q"), status, says)


@pytest.mark.parametrize("name", WITH_A_MODEL)
def test_what_only_the_model_can_tell_is_answered_by_one_line(invoke, name, bert, llama, pairs_csv, tmp_path):
    args, status, says = WITH_A_MODEL[name]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    places = {"BERT": bert, "LLAMA": llama, "PAIRS": pairs_csv, "FULL": tmp_path / "full"}
    assert_one_error_line(invoke(*(places.get(arg, arg) for arg in args), "-q"), status, says)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a dog", "", 1.0)], "the second sentence (column 'sentence2') is empty"),
        ([("a dog", "a cat", "high")], "'high', not a finite number"),
        ([("a dog", "a cat", 1.0), ("a dog", "a cat", "")], "is missing"),
        ([("a dog", "a\0cat", 1.0)], "the second sentence (column 'sentence2') has a NUL character; remove it"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_line(invoke, tmp_path, rows, says):
    path = write_csv(tmp_path / "bad.csv", [*made_up_pairs(3), *rows])
    result = invoke("eval", path, "-q")
    assert_one_error_line(result, FAILURE, says)
    assert f"bad.csv: data row {3 + len(rows)} (line {4 + len(rows)})" in result.stderr


@pytest.mark.parametrize("kept", [0, 2])
def test_too_few_pairs_are_refused(invoke, tmp_path, kept):
    result = invoke("eval", write_csv(tmp_path / "few.csv", made_up_pairs(kept)), "-q")
    assert_one_error_line(result, FAILURE, f"{kept} pairs")


def test_a_file_has_no_other_split_to_choose_a_band_on(invoke, pairs_csv):
    result = invoke("eval", pairs_csv, "--select-on", "validation", "-q")
    assert_one_error_line(result, USAGE, "is no benchmark and has no other split")


def test_wrong_data_is_answered_before_the_model_is_looked_for(invoke):
    result = invoke("eval", "absent.csv", "-m", "no/such/folder")
    assert_one_error_line(result, USAGE, "absent.csv: no such file")


@pytest.mark.parametrize(
    ("out", "says"),
    [("PAIRS", "--out takes a directory"), ("PAIRS/run", "is a file, so"), ("full", "holds no actsim run")],
)
@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_a_bad_directory_is_answered_before_the_model_is_looked_for(invoke, pairs_csv, tmp_path, out, says, fresh):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    place = out.replace("PAIRS", str(pairs_csv))
    result = invoke("eval", pairs_csv, "-m", "no/such/folder", "--out", place, *fresh, "-q")
    assert says in result.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter.txt"]


def test_a_directory_that_may_not_be_written_is_answered_before_the_model_is_looked_for(
    invoke, pairs_csv, tmp_path, monkeypatch
):
    monkeypatch.setattr("actsim.store.writing.os.access", lambda path, _mode: path != tmp_path)
    result = invoke("eval", pairs_csv, "-m", "no/such/folder", "--out", tmp_path / "runs" / "mine", "-q")
    assert_one_error_line(result, USAGE, f"nothing may be written into {tmp_path}; fix its permissions")
    assert not (tmp_path / "runs").exists()


def test_what_the_form_of_a_band_allows_is_what_a_model_can_read():
    """The form is told before the model is loaded, so it may neither refuse nor pass what Band.parse would not."""
    allowed = ("all", "deep", "last", "last:4", "last : 2", "3", "3,5,6", "2-4", "1 - 3, 6", " 4 ")
    refused = ("", "upper", "last:", "last:x", "1-", "-1", "1,,2", "4-2", "0", "1;2", "all,1", "3-5-7", "last:0")
    form = BandType()
    assert [form.convert(spec, None, None) for spec in allowed] == list(allowed)
    assert all(Band.parse(spec, 6).layers for spec in allowed)
    for spec in refused:
        with pytest.raises(click.BadParameter):
            form.convert(spec, None, None)
        with pytest.raises(UsageError):
            Band.parse(spec, 6)


def test_the_classes_of_failures_have_their_status():
    assert {ModelError.exit_code, ResumeError.exit_code} == {FAILURE}
    assert USAGE == 2
