"""The documentation says what is true: its snippets run, its commands parse, its error lines are the real ones."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import tiny_models
import torch
from click.testing import CliRunner, Result
from huggingface_hub import constants
from pair_files import made_up_pairs, write_csv, write_jsonl

from actsim.core import measures, objectives
from actsim.data import benchmarks
from actsim.models.locate import BUNDLED_PACKAGE
from actsim.models.tokenise import sentence_batch
from actsim_cli.main import actsim

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
EXTENDING_PAGE = ROOT / "docs" / "extending.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRONG = "## Wrong inputs"
HANDED_OVER = ("mteb",)
"""Commands without options of their own."""

needs_default_model = pytest.mark.skipif(
    importlib.util.find_spec(BUNDLED_PACKAGE) is None, reason="needs the default model: pip install 'actsim[demo]'"
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for name, body in FENCE.findall(text) if name == language]


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no section {heading!r}"
    return rest.partition("\n## ")[0]


def command_lines(text: str) -> Iterator[str]:
    """Every command line of actsim, in console blocks after the prompt and in code spans, but for the wrong inputs."""
    right = text.partition(f"\n{WRONG}\n")[0]
    for block in blocks(right, "console"):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ actsim"))
    yield from re.findall(r"`(actsim [^`]+)`", FENCE.sub("", right))


def wrong_inputs() -> list[tuple[str, str, int]]:
    """The rows of the table of wrong inputs: command, line, exit code."""
    table = section(text_of(COMMANDS_PAGE), WRONG)
    rows = re.findall(r"^\| `(actsim .+?)` \| `(.+)` \| (\d+) \|$", table, re.MULTILINE)
    return [(command, line, int(status)) for command, line, status in rows]


EXAMPLES = [(page.name, line) for page in PAGES for line in command_lines(text_of(page))]


@pytest.mark.parametrize(("page", "line"), EXAMPLES, ids=[f"{page}: {line}" for page, line in EXAMPLES])
def test_a_command_line_is_accepted_by_the_parser(page: str, line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    if name == "COMMAND":
        assert arguments == ["--help"]
        return
    assert name in actsim.commands, f"{page}: {line}"
    if arguments:  # else the command is spoken of
        assert actsim.commands[name].make_context(name, arguments).params


def test_there_are_command_lines_to_check() -> None:
    assert {line.split()[1] for _, line in EXAMPLES} >= set(actsim.commands)


@pytest.mark.parametrize("name", list(actsim.commands))
def test_the_section_of_a_command_names_every_option(name: str) -> None:
    text = FENCE.sub("", section(text_of(COMMANDS_PAGE), f"## `actsim {name}`"))
    spans = {part for span in re.findall(r"`([^`]+)`", text) for part in re.split(r"[/ ]", span)}
    options = [parameter for parameter in actsim.commands[name].params if isinstance(parameter, click.Option)]
    assert options or name in HANDED_OVER
    assert [spelling for option in options for spelling in option.opts if spelling not in spans] == []


@pytest.mark.parametrize("name", list(actsim.commands))
def test_the_section_of_a_command_names_no_option_that_it_lacks(name: str) -> None:
    table = [line for line in section(text_of(COMMANDS_PAGE), f"## `actsim {name}`").splitlines() if line[:1] == "|"]
    named = {spelling for line in table for spelling in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    known = {spelling for parameter in actsim.commands[name].params for spelling in parameter.opts}
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    assert "@@" not in text_of(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text_of(file), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_module_tree_lists_what_exists() -> None:
    tree = text_of(ROOT / "docs" / "architecture.md").partition("\n## ")[0]
    listed = set(re.findall(r"[\w/]+\.py", tree))
    files = [path for path in (ROOT / "actsim").rglob("*.py") if path.name != "__init__.py"]
    files += [path for path in (ROOT / "cli").glob("*.py") if path.name != "__init__.py"]
    assert listed == {path.name for path in files}


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without data of the machine and without the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTSIM_DATA_DIR", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    return tmp_path


def run(line: str) -> Result:
    return CliRunner().invoke(actsim, shlex.split(line)[1:])


@pytest.mark.slow
@needs_default_model
def test_the_python_of_the_readme_runs(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks(text_of(ROOT / "README.md"), "python")
    names: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), names)
    assert len(names["run"].layer_scores("cosine")) == len(names["pairs"])
    assert "spearman" in capsys.readouterr().out
    assert list((empty_folder / "reports").iterdir()) == [empty_folder / names["run"].directory]


@needs_default_model
def test_the_python_that_reads_a_run_runs(empty_folder: Path) -> None:
    text = section(text_of(COMMANDS_PAGE), "## The files of a run")
    (line,) = command_lines(text)
    assert run(line).exit_code == 0
    with_pandas, with_actsim = blocks(text, "python")
    pandas_names: dict[str, object] = {}
    actsim_names: dict[str, object] = {}
    exec(compile(with_pandas, "commands.md", "exec"), pandas_names)
    exec(compile(with_actsim, "commands.md", "exec"), actsim_names)
    found = pandas_names["whole_layers"].corrwith(pandas_names["pairs"]["gold"], method="spearman")
    assert found.to_numpy() == pytest.approx(pandas_names["layers"]["spearman"].to_numpy(), abs=1e-12)
    scores = actsim_names["run"].scores("cosine")
    assert scores.tolist() == pandas_names["scores"].to_numpy().tolist()


def test_the_data_set_of_the_page_on_extending_is_a_benchmark() -> None:
    names = dict(vars(benchmarks))
    exec(blocks(text_of(EXTENDING_PAGE), "python")[0], names)
    mine = names["MY_PAIRS"]
    assert isinstance(mine, benchmarks.Benchmark)
    assert (mine.release().name, mine.hub_split("test")) == ("first", "test")


def test_the_measure_of_the_page_on_extending_is_a_function_of_moments() -> None:
    """Dice is 2 J / (1 + J) for the Jaccard index J."""
    names = dict(vars(measures))
    exec(blocks(text_of(EXTENDING_PAGE), "python")[1], names)
    moments = torch.tensor([[0.0] * 6 + counts for counts in ([5.0, 4.0, 2.0], [3.0, 3.0, 3.0], [2.0, 7.0, 0.0])])
    jaccard = measures.jaccard(moments)
    torch.testing.assert_close(names["dice"](moments), 2 * jaccard / (1 + jaccard))


def test_the_objective_of_the_page_on_extending_is_one_inside_and_outside(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, inside, outside, calling = blocks(text_of(EXTENDING_PAGE), "python")
    monkeypatch.setattr(objectives.CAUSAL_OBJECTIVES, "_entries", dict(objectives.CAUSAL_OBJECTIVES._entries))
    monkeypatch.syspath_prepend(empty_folder)
    (empty_folder / "mypackage").mkdir()
    (empty_folder / "mypackage" / "objectives.py").write_text(outside, encoding="utf-8")
    tiny_models.save(empty_folder / "my-models" / "llama", "llama")
    names: dict[str, object] = {}
    exec(calling, names)
    assert capsys.readouterr().out.startswith("{1: 0.")
    within = dict(vars(objectives))
    exec(inside, within)
    batch = sentence_batch(names["model"], tiny_models.SENTENCES, names["scoring"])
    registered = objectives.CAUSAL_OBJECTIVES.get("entropy")
    torch.testing.assert_close(
        within["entropy"](names["model"], batch).values, registered(names["model"], batch).values
    )


def write_wrong_files(folder: Path) -> None:
    """The files that the table of wrong inputs speaks of."""
    rows = made_up_pairs(6)
    write_csv(folder / "pairs.csv", rows)
    lines = (folder / "pairs.csv").read_text(encoding="utf-8").splitlines()
    header, *_ = lines
    changed = {
        "renamed.csv": ["left_text,right_text,mark", *lines[1:]],
        "empty.csv": [header, *lines[1:3], 'A man walks.,"",3.0', *lines[4:]],
        "word.csv": [header, *lines[1:4], "A man walks.,A man runs.,n/a", *lines[5:]],
        "ragged.csv": [header, "A man, old, walks.,A man walks.,4.0", *lines[2:]],
        "pairs.txt": lines,
    }
    for name, content in changed.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    (folder / "latin.csv").write_bytes(f"{header}\nUn café.,Un bar.,3.0\n".encode("latin-1"))
    (folder / "data" / "stsb").mkdir(parents=True)
    write_jsonl(folder / "data" / "stsb" / "test.jsonl", [(a, b, gold / 5) for a, b, gold in rows])


def test_there_are_fifteen_wrong_inputs() -> None:
    assert len({command for command, _, _ in wrong_inputs()}) == 15


@needs_default_model
@pytest.mark.parametrize(("command", "line", "status"), wrong_inputs(), ids=[row[0] for row in wrong_inputs()])
def test_a_wrong_input_gets_the_line_of_the_table(empty_folder: Path, command: str, line: str, status: int) -> None:
    write_wrong_files(empty_folder)
    result = run(command)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.splitlines()[-1] == line
