import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.report.markdown import code_block, escaped, report_markdown
from actsim.report.wording import control_sentence, layer_sentences, verdict

FILES = {"figure": "layers.svg", "layers.csv": "layers.csv"}


def tables(text):
    """Every table of the document as rows of cells."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            found.append(rows)
            rows = []
    return found


def shown(text):
    """What a Markdown reader shows of escaped text."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.05, "above"),
        (-0.05, -0.01, "below"),
        (-0.01, 0.05, "not distinguishable from"),
        (0.0, 0.05, "not distinguishable from"),
        (-0.05, 0.0, "not distinguishable from"),
        (None, None, None),
        (float("nan"), 0.1, None),
    ],
)
def test_verdict_follows_the_interval_of_the_difference(low, high, expected):
    assert verdict({"value": 0.9, "ci_low": low, "ci_high": high}) == expected


def test_verdict_without_a_difference_is_none():
    assert verdict(None) is None


def test_each_baseline_is_worded_by_its_own_interval(make_summary, manifest):
    summary = make_summary(3)
    ends = {"word_overlap": (0.01, 0.03), "embedding": (-0.3, -0.1)}
    hidden = iter([(0.1, 0.2), (-0.1, 0.1), (-0.1, 0.1)])
    for row in summary["baselines"]:
        low, high = ends.get(row["name"]) or next(hidden)
        row["difference"] = {"value": (low + high) / 2, "ci_low": low, "ci_high": high}
    text = report_markdown(summary, manifest, FILES)
    assert "The headline is **above** word overlap (" in text
    assert "The headline is **below** own embedding (" in text
    assert "of 3 layers the headline is **above** it in 1, **not distinguishable from** it in 2." in text


def test_headline_paragraph_has_value_interval_and_n(make_summary, manifest):
    summary = make_summary(6)
    row = summary["headline"]
    text = report_markdown(summary, manifest, FILES)
    assert (
        f"**{row['spearman']:.3f}** (95 % interval {row['ci_low']:.3f} to {row['ci_high']:.3f}, n = {row['n']})" in text
    )


def test_an_undefined_headline_is_said_in_words(make_summary, manifest):
    summary = make_summary(2)
    summary["headline"].update(spearman=None, ci_low=None, ci_high=None, pearson=None, kendall=None, n=3)
    assert "no defined Spearman correlation with the human scores (n = 3)" in report_markdown(summary, manifest, FILES)


def test_layer_table_has_the_figures_of_the_summary(make_summary, manifest):
    summary = make_summary(4, measures=("cosine", "ruzicka"), missing=(2,))
    rows = tables(report_markdown(summary, manifest, FILES))[0]
    for cells, row in zip(rows[2:], summary["layers"], strict=False):
        assert cells[0].strip("*") == str(row["layer"])
        assert ("**" in cells[0]) == (row["layer"] in summary["band"]["layers"])
        assert cells[1:3] == [row["measure"], str(row["n"])]
        values = [row["spearman"], row["pearson"], row["kendall"]]
        assert [cells[3], cells[5], cells[6]] == ["–" if v is None else f"{v:.3f}" for v in values]
    assert len(rows) == 2 + len(summary["layers"]) + len(summary["bands"])


def test_kinds_table_has_every_kind_and_n_where_it_is_smaller(make_summary, manifest):
    summary = make_summary(3)
    rows = next(rows for rows in tables(report_markdown(summary, manifest, FILES)) if rows[0][0] == "cosine, layer")
    cells = {(int(row[0]), kind): cell for row in rows[2:] for kind, cell in zip(rows[0][1:], row[1:], strict=True)}
    assert len(cells) == len(summary["kinds"])
    for row in summary["kinds"]:
        n = f" (n = {row['n']})" if row["n"] != summary["n_pairs"] else ""
        assert cells[row["layer"], row["kind"]] == f"{row['spearman']:.3f}{n}"
    assert "(n = " in cells[1, "q"]


def test_every_table_is_rectangular_with_hostile_names(make_summary, manifest):
    name = "a|b*c*_d_`e`<script>[x](y)#\n| z |"
    summary = make_summary(4, causal=True, model=name, dataset=name)
    summary["notes"] = [f"- {name}"]
    manifest["record"]["device"] = name
    text = report_markdown(summary, manifest, FILES)
    assert all(len({len(row) for row in rows}) == 1 for rows in tables(text))
    assert re.search(r"(?<!\\)<script", text) is None
    assert shown(text.splitlines()[0]).count("a|b*c*_d_`e`<script>[x](y)# | z |") == 2


@given(text=st.text())
def test_escaped_text_reads_as_the_text_and_has_no_active_characters(text):
    result = escaped(text)
    assert re.search(r"[`*_\[\]<>|#~&$]", re.sub(r"\\.", "", result)) is None
    printable = " ".join(text.split())
    if printable.isprintable():
        assert re.sub(r"\\(.)", r"\1", result) == printable


@pytest.mark.parametrize("start", ["1. one", "- item", "+ item", "# head", "> quote", "2) two", "==="])
def test_escaped_text_opens_no_block(start):
    assert re.match(r"\d+[.)]\s|[-+*]\s|#|>|=+$", escaped(start)) is None


def test_escaping_leaves_ordinary_text_alone():
    for text in ("0.95", "-0.1", "sentence-transformers/all-MiniLM-L6-v2", "3 sentences were cut to 128 tokens."):
        assert escaped(text) == text


@given(text=st.text(alphabet="`a \n", min_size=1))
def test_a_code_block_ends_only_at_its_end(text):
    lines = code_block(text).split("\n")
    fence = lines[0].removesuffix("sh")
    assert "\n".join(lines[1:-1]) == text
    assert lines[-1] == fence
    assert fence not in text


def test_provenance_shows_settings_versions_and_the_command(make_summary, manifest):
    manifest["record"]["command"] = ["actsim", "eval", "my pairs.csv", "--split", "test"]
    text = report_markdown(make_summary(3), manifest, FILES)
    rows = {tuple(row[:2]): row[2] for row in tables(text)[-1]}
    assert rows["scoring", "max tokens"] == "128"
    assert rows["scoring", "batch tokens"] == "1024"
    assert rows["scoring", "dtype"] == "float32"
    assert rows["run", "versions, torch"] == "2.13.0"
    assert rows["run", "wall time"] == "61.2 s"
    assert rows["intervals", "seed"] == "0"
    assert ("scoring", "gamma") not in rows
    assert "```sh\nactsim eval 'my pairs.csv' --split test\n```" in text
    del manifest["record"]["command"]
    assert "```" not in report_markdown(make_summary(3), manifest, FILES)


def test_figure_and_files_are_relative_links(make_summary, manifest):
    text = report_markdown(make_summary(3), manifest, {"figure": "a layer.svg", "kinds.csv": "kinds.csv"})
    assert "](a%20layer.svg)" in text
    assert "- [kinds.csv](kinds.csv)" in text
    assert "![" not in report_markdown(make_summary(3), manifest, {})


def test_report_cites_the_paper_and_leaves_out_empty_sections(make_summary, manifest):
    summary = make_summary(3, baselines=False)
    summary["notes"] = []
    summary["kinds"] = []
    headings = re.findall(r"^## (.*)$", report_markdown(summary, manifest, {}), flags=re.MULTILINE)
    assert headings == ["Layers", "How this was made", "Reference"]
    assert "arXiv 2405.17799" in report_markdown(summary, manifest, {})


def test_what_speaks_against_the_headline_stands_in_the_first_paragraph_and_only_there(make_summary, manifest):
    summary = make_summary(4, controls=(0.9, 0.1))
    text = report_markdown(summary, manifest, FILES)
    first = text.split("\n\n")[1]
    assert first.startswith("On 1379 pairs")
    assert control_sentence(summary) in first
    for said in ("word overlap, which knows no model", "reaches the headline's own"):
        assert text.count(said) == 1
    assert "word overlap (0.640" not in text and "random weights (seed 3) (0.900" not in text
    assert "The headline is **above** shuffled tokens (seed 3) (0.100" in text


def test_controls_have_a_table_and_columns_beside_the_layers(make_summary, manifest):
    summary = make_summary(4, measures=("cosine", "ruzicka"), controls=(0.5, 0.1))
    text = report_markdown(summary, manifest, FILES)
    layers = next(table for table in tables(text) if table[0][:2] == ["layer", "measure"])
    assert layers[0][-3:] == ["random weights (seed 3)", "shuffled tokens (seed 3)", "partial"]
    assert layers[2][-3:] == ["0.500", "0.100", "0.400"]
    assert [row[-3:] for row in layers[2:] if row[1] == "ruzicka"][:4] == [["–"] * 3] * 4
    controls = next(table for table in tables(text) if table[0][0] == "control")
    assert [row[0] for row in controls[2:]] == ["random weights (seed 3)", "shuffled tokens (seed 3)"]
    assert [row[-1] for row in controls[2:]] == ["above", "above"]
    for sentence in layer_sentences(summary):
        assert f"- {sentence}" in text.splitlines()


def test_without_controls_there_is_no_section_on_them(make_summary, manifest):
    text = report_markdown(make_summary(3), manifest, FILES)
    assert "## Controls" not in text and "## Which layers beat what" not in text


def test_the_template_is_told(make_summary, manifest):
    summary = {**make_summary(3), "template": 'say "{text}"'}
    assert 'Every sentence stands in the template: say "{text}"' in report_markdown(summary, manifest, FILES)
