"""``actsim eval``: what it prints and where, what it writes, how it goes on, and that every option acts."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pair_files import made_up_pairs, write_csv

from actsim.config import TEMPLATES
from actsim.store import open_run
from actsim_cli.main import actsim

DRAWN = ("--resamples", "50")
"""Intervals are not what these tests are about."""
FEW = (*DRAWN, "--no-report")
"""Nor are figures, which take longer than all the rest."""


def summary_of(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def scores_of(directory):
    return open_run(directory).layer_scores("cosine").to_numpy()


def test_the_table_and_the_files_are_the_last_thing_on_stdout(invoke, bert, pairs_csv):
    result = invoke("eval", pairs_csv, "-m", bert, "--out", "run", *DRAWN)
    assert result.exit_code == 0
    run = open_run("run")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for row in run.summary["layers"]:
        assert any(line.split()[0] == str(row["layer"]) and f"{row['spearman']:.3f}" in line for line in lines if line)
    assert f"deep band (layers 2-3): Spearman {run.summary['headline']['spearman']:.3f}" in result.stdout
    tail = " ".join(result.stdout.partition("files in run:")[2].replace(",", " ").split())
    assert sorted(tail.split()) == sorted(
        path.name for path in Path("run").iterdir() if path.is_file() and path.name[0] != "."
    )
    assert {"manifest.json", "summary.json", "layers.csv", "report.md", "pairs.parquet"} <= set(tail.split())


def test_remarks_go_to_stderr_and_name_data_and_model(invoke, bert, pairs_csv):
    result = invoke("eval", pairs_csv, "-m", bert, "--out", "run", *FEW)
    data, model = result.stderr.splitlines()
    assert data == "data: pairs.csv, all: 12 of 12 pairs, file pairs.csv"
    assert model.startswith(f"model from the folder {bert}; encoder, float32 on ")
    quiet = invoke("eval", pairs_csv, "-m", bert, "--out", "run", "-q", *FEW)
    assert (quiet.stderr, quiet.stdout) == ("", result.stdout)


def test_verbose_names_the_run_and_the_scoring(invoke, bert, pairs_csv):
    shown = {}
    for level in ((), ("-v",), ("-vv",)):
        result = invoke("eval", pairs_csv, "-m", bert, "--out", "run", *level, *FEW)
        shown[level] = [line for line in result.stderr.splitlines() if line.startswith("actsim: ")]
    digest = open_run("run").manifest["digest"]
    assert shown[()] == []
    assert f"actsim: info: run in run, configuration {digest}" in shown[("-v",)]
    assert any("objective='embedding-norm'" in line for line in shown[("-v",)])
    assert any(line.startswith("actsim: debug: configuration: ") for line in shown[("-vv",)])
    assert len(shown[("-vv",)]) > len(shown[("-v",)])


def test_json_is_the_summary_and_nothing_else(invoke, bert, pairs_csv):
    result = invoke("eval", pairs_csv, "-m", bert, "--out", "run", "--json", *FEW)
    assert summary_of(result) == json.loads(Path("run/summary.json").read_text())
    assert "files in run:" in result.stderr


def test_the_default_directory_names_data_and_model(invoke, bert, pairs_csv):
    invoke("eval", pairs_csv, "-m", bert, *FEW)
    (directory,) = Path("reports").iterdir()
    assert directory.name == f"pairs.csv-all-tiny-bert-{open_run(directory).manifest['digest'][:8]}"


def test_the_command_is_recorded_as_it_was_given(invoke, bert, pairs_csv):
    args = ["eval", str(pairs_csv), "-m", str(bert), "--out", "run", "--measure", "cosine", *FEW]
    invoke(*args)
    assert open_run("run").manifest["record"]["command"] == ["actsim", *args]


def test_a_finished_run_is_summed_up_again_without_scoring(invoke, bert, pairs_csv):
    first = invoke("eval", pairs_csv, "-m", bert, "--out", "run", *FEW)
    again = invoke("eval", pairs_csv, "-m", bert, "--out", "run", "--layers", "all", *FEW)
    assert "12 of 12 pairs are scored already" not in first.stderr
    assert "12 of 12 pairs are scored already" in again.stderr
    assert "all band (layers 1-3)" in again.stdout
    assert [session["rows_written"] for session in open_run("run").manifest["sessions"]] == [12, 0]


def test_another_configuration_is_refused_with_the_difference_and_fresh_starts_over(invoke, bert, llama, pairs_csv):
    invoke("eval", pairs_csv, "-m", bert, "--out", "run", *FEW)
    refused = invoke("eval", pairs_csv, "-m", llama, "--out", "run", "-q", *FEW)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "scoring.objective: 'embedding-norm' -> 'next-token'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert open_run("run").summary["objective"] == "embedding-norm"
    fresh = invoke("eval", pairs_csv, "-m", llama, "--out", "run", "--fresh", *FEW)
    assert fresh.exit_code == 0
    assert open_run("run").summary["objective"] == "next-token"


def test_a_damaged_part_is_told_and_computed_again(invoke, bert, pairs_csv):
    invoke("eval", pairs_csv, "-m", bert, "--out", "run", *FEW)
    before = scores_of("run")
    (part,) = Path("run/parts").glob("part-*")
    part.write_bytes(b"x" + part.read_bytes()[1:])
    result = invoke("eval", pairs_csv, "-m", bert, "--out", "run", "-q", *FEW)
    assert result.exit_code == 0
    assert result.stderr.startswith("actsim: warning: run: ")
    assert (scores_of("run") == before).all()


def test_every_option_of_scoring_reaches_the_run(invoke, llama, pairs_csv):
    options = [
        *("--objective", "nll", "--pattern", "absolute-gradient", "--measure", "jaccard", "--measure", "cosine"),
        *("--gamma", "1e-4", "--batch-tokens", "100", "--max-tokens", "7", "--dtype", "float64", "--no-baselines"),
    ]
    assert invoke("eval", pairs_csv, "-m", llama, "--out", "run", *options, *FEW).exit_code == 0
    assert open_run("run").manifest["config"]["scoring"] == {
        "objective": "nll",
        "pattern": "absolute-gradient",
        "measures": ["jaccard", "cosine"],
        "gamma": 1e-4,
        "top_fraction": None,
        "max_tokens": 7,
        "batch_tokens": 100,
        "dtype": "float64",
        "baselines": False,
    }
    assert open_run("run").summary["headline"]["measure"] == "jaccard"


def test_family_and_top_fraction_reach_the_run(invoke, llama, pairs_csv):
    options = ("--family", "encoder", "--measure", "overlap", "--top-fraction", "0.2", "--device", "cpu")
    assert invoke("eval", pairs_csv, "-m", llama, "--out", "run", *options, *FEW).exit_code == 0
    config = open_run("run").manifest["config"]
    assert (config["model"]["family"], config["scoring"]["top_fraction"]) == ("encoder", 0.2)


def test_every_option_of_statistics_reaches_the_summary(invoke, bert, pairs_csv):
    options = ("--layers", "1,3", "--resamples", "70", "--level", "0.8", "--seed", "5")
    summary = summary_of(invoke("eval", pairs_csv, "-m", bert, "--json", *options))
    assert (summary["resamples"], summary["level"], summary["seed"]) == (70, 0.8, 5)
    assert summary["band"]["layers"] == [1, 3]


def test_controls_reach_the_run_the_screen_and_the_report(invoke, llama, pairs_csv):
    options = ("--control", "random-weights", "--control", "shuffled-tokens", "--control-seed", "4")
    result = invoke("eval", pairs_csv, "-m", llama, "--out", "run", *options, *DRAWN)
    assert result.exit_code == 0, result.output
    controls = open_run("run").summary["controls"]
    assert [(control["name"], control["seed"]) for control in controls] == [
        ("random-weights", 4),
        ("shuffled-tokens", 4),
    ]
    assert max(map(len, result.stdout.splitlines())) <= 80
    for control in controls:
        label = f"{control['name'].replace('-', ' ')} (seed 4)"
        assert label in result.stdout and label in Path("run/report.md").read_text(encoding="utf-8")
        inner = open_run(Path("run") / f"control-{control['name']}-seed4")
        assert inner.manifest["config"]["model"]["control"] == {"name": control["name"], "seed": 4}
        assert inner.summary["headline"] == control["headline"]
    assert invoke("eval", pairs_csv, "-m", llama, "--out", "run", *options, *FEW).exit_code == 0
    for directory in ("run", "run/control-random-weights-seed4", "run/control-shuffled-tokens-seed4"):
        assert [session["rows_written"] for session in open_run(directory).manifest["sessions"]] == [12, 0]


@pytest.mark.parametrize("template", ["echo", "the {text} is"])
def test_a_template_reaches_the_run(invoke, llama, pairs_csv, template):
    result = invoke("eval", pairs_csv, "-m", llama, "--out", "run", "--template", template, *FEW)
    assert result.exit_code == 0, result.output
    text = TEMPLATES.get(template, template)
    run = open_run("run")
    assert run.manifest["config"]["scoring"]["template"] == run.summary["template"] == text
    assert f"template: {text[:20]}" in result.stdout
    refused = invoke("eval", pairs_csv, "-m", llama, "--out", "run", *FEW)
    assert refused.exit_code == 1 and "scoring.template" in refused.stderr


def test_threads_reach_torch(invoke, bert, pairs_csv):
    import torch

    before = torch.get_num_threads()
    try:
        invoke("eval", pairs_csv, "-m", bert, "--out", "run", "--threads", "1", *FEW)
        assert open_run("run").manifest["record"]["threads"] == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_limit_is_a_seeded_sample_and_first_takes_the_first(invoke, bert, pairs_csv):
    samples = {}
    for seed in (1, 2):
        invoke("eval", pairs_csv, "-m", bert, "--limit", 5, "--seed", seed, "--out", f"seed{seed}", *FEW)
        samples[seed] = open_run(f"seed{seed}").manifest["record"]["rows"]
    assert samples[1] != samples[2]
    assert all(len(set(rows)) == 5 for rows in samples.values())
    invoke("eval", pairs_csv, "-m", bert, "--first", 5, "--out", "first", *FEW)
    assert open_run("first").manifest["record"]["rows"] == [0, 1, 2, 3, 4]


def test_texts_are_left_out_when_asked(invoke, bert, pairs_csv):
    invoke("eval", pairs_csv, "-m", bert, "--out", "with", *FEW)
    invoke("eval", pairs_csv, "-m", bert, "--out", "without", "--no-text", *FEW)
    assert {"sentence_a", "sentence_b"} <= set(open_run("with").pairs.columns)
    assert not {"sentence_a", "sentence_b"} & set(open_run("without").pairs.columns)


def test_columns_may_have_any_name(invoke, bert, tmp_path):
    pairs = made_up_pairs(8)
    plain = write_csv(tmp_path / "plain.csv", pairs)
    odd = write_csv(tmp_path / "odd.csv", pairs, header=("left, first", "right", "mean=score"))
    invoke("eval", plain, "-m", bert, "--out", "plain", *FEW)
    columns = "a=left, first,b=right,gold=mean=score"
    assert invoke("eval", odd, "-m", bert, "--out", "odd", "--columns", columns, *FEW).exit_code == 0
    assert (scores_of("odd") == scores_of("plain")).all()


@pytest.mark.parametrize("by_option", [True, False])
def test_a_band_is_chosen_on_another_split_and_both_figures_are_shown(invoke, bert, benchmarks, monkeypatch, by_option):
    place = ("--data-dir", benchmarks) if by_option else ()
    if not by_option:
        monkeypatch.setenv("ACTSIM_DATA_DIR", str(benchmarks))
    args = ("eval", "sts-b", *place, "-m", bert, "--select-on", "validation", "--out", "run", *FEW)
    result = invoke(*args)
    assert result.exit_code == 0
    selection = open_run("run").summary["selection"]
    assert (selection["split"], selection["n_pairs"]) == ("validation", 15)
    assert f"{selection['spearman_selection']:.3f} there, {selection['spearman_here']:.3f} here" in " ".join(
        result.stdout.split()
    )
    assert [line.split(":")[1] for line in result.stderr.splitlines()[:2]] == [" sts-b, test", " sts-b, validation"]
    again = invoke(*args)
    assert "12 of 12 pairs are scored already" in again.stderr
    assert "15 of 15 pairs are scored already" in again.stderr


def test_select_on_takes_the_limit_too(invoke, bert, benchmarks):
    options = ("--data-dir", benchmarks, "--select-on", "validation", "--limit", 6)
    summary = summary_of(invoke("eval", "sts-b", "-m", bert, "--json", *options, *FEW))
    assert (summary["n_pairs"], summary["selection"]["n_pairs"]) == (6, 6)


def test_layers_csv_agrees_with_the_summary(invoke, bert, pairs_csv):
    summary = summary_of(invoke("eval", pairs_csv, "-m", bert, "--out", "run", "--json", *FEW))
    rows = list(csv.DictReader(io.StringIO(Path("run/layers.csv").read_text())))
    assert [float(row["spearman"]) for row in rows] == [row["spearman"] for row in summary["layers"]]


def test_a_run_that_is_summed_up_again_reports_the_command_of_its_figures(invoke, bert, pairs_csv):
    args = ["eval", pairs_csv, "-m", bert, "--out", "run", "--resamples", "20"]
    for layers in ("deep", "all"):
        assert invoke(*args, "--layers", layers).exit_code == 0
        assert f"--layers {layers}" in Path("run/report.md").read_text(encoding="utf-8")


def test_ctrl_c_leaves_a_run_that_the_same_command_finishes(invoke, bert, tmp_path):
    pairs = write_csv(tmp_path / "many.csv", made_up_pairs(320))
    args = ("eval", pairs, "-m", bert, "--batch-tokens", "128", "--out", "run", *FEW)
    process = start(*args)
    wait_for_a_part(process, Path("run/parts"))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (130, "")
    told = "actsim: interrupted; the run is kept in run, and the same command goes on with it."
    assert stderr.splitlines()[2:] == [told]
    kept = sorted(path.name for path in Path("run/parts").iterdir())
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert 0 < len(kept) < manifest["n_parts"]
    assert manifest["sessions"][-1]["interrupted"] is True
    resumed = invoke(*args)
    assert resumed.exit_code == 0
    done = sum(manifest["parts"][int(name.split("-")[1])] for name in kept)
    assert f"{done} of 320 pairs are scored already" in resumed.stderr
    assert set(kept) < {path.name for path in Path("run/parts").iterdir()}
    assert sorted(open_run("run").table["pair"].to_pylist()) == list(range(320))


@pytest.mark.parametrize("options", [(), ("--fresh",)])
@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_says_what_is_kept_and_how_to_go_on(invoke, bert, pairs_csv, monkeypatch, options, begun):
    def interrupted(*_args, out, **_options):
        if begun:
            out.mkdir()
            (out / "manifest.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("actsim.studies.evaluate.evaluate", interrupted)
    result = invoke("eval", pairs_csv, "-m", bert, "--out", "run", "-q", *options)
    again = "the same command without --fresh" if options else "the same command"
    kept = f"; the run is kept in run, and {again} goes on with it" if begun else ""
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", f"actsim: interrupted{kept}.\n")


def wait_for_a_part(process, folder):
    """Until the first part is stored; fails when the process ends before, or takes minutes."""
    deadline = time.monotonic() + 180
    while not any(folder.glob("part-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(*args):
    code = "from actsim_cli.main import run; run()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed_interrupts
    )


def heed_interrupts():
    """A test run in the background of a shell ignores interrupts, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_terminal(master):
    """Everything that is written to a terminal, until its other side is closed."""
    read = b""
    try:
        while piece := os.read(master, 65536):
            read += piece
    except OSError as error:  # what Linux answers when the other side is closed
        assert error.errno == errno.EIO
    return read.decode()


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_terminal_on_stderr_gets_a_progress_bar_unless_quiet(bert, pairs_csv, quiet, monkeypatch, capsys):
    master, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with ThreadPoolExecutor(1) as reader, os.fdopen(terminal, "w") as stderr:
        shown = reader.submit(read_terminal, master)
        monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as ended:
            actsim.main(["eval", str(pairs_csv), "-m", str(bert), "--out", "run", *quiet, *FEW])
        monkeypatch.undo()
        stderr.close()
        told = shown.result()
    os.close(master)
    assert ended.value.code == 0
    assert "\x1b" not in capsys.readouterr().out
    if quiet:
        assert told == ""
    else:
        assert "12/12" in told
        assert "pairs/s" in told
        assert "loading" in told
