"""The tables of ``list``, ``score`` and ``info``: within their width, in any encoding, nothing left out."""

from __future__ import annotations

import copy
import io

import pytest
from rich.console import Console

from actsim.report.listing import listing
from actsim.report.terminal import (
    files_lines,
    magnitude,
    model_report,
    percentage,
    score_report,
)

LAYERS = 12

LISTING = {
    "datasets": [
        {
            "name": "pairs",
            "description": "made-up pairs",
            "score_range": [0.0, 5.0],
            "columns": {"a": ["left", "first"], "b": ["right"], "gold": ["score"]},
            "default_split": "test",
            "releases": [
                {"name": "new", "default": True, "splits": {"train": 400, "test": 120}},
                {"name": "old", "default": False, "splits": {"train": 390, "test": None}},
            ],
            "looked_for": "pairs/<split>.jsonl in the data directory",
            "licence": "CC0",
            "url": "https://example.org/" + "long-path/" * 5,
        }
    ],
    "domains": [
        {
            "name": "letters",
            "description": "made-up letters",
            "splits": {"train": None, "test": 30},
            "default_split": "test",
            "form": "a text a row",
            "looked_for": "letters/<split>.jsonl",
            "licence": "CC0",
            "url": "",
            "example_of": "the first text:",
            "example": "Dear [bold]friend,\n\n    yours",
        }
    ],
    "measures": [
        {"name": "cosine", "default": True, "compares": "patterns", "definition": "Σ P_a P_b / (‖P_a‖ ‖P_b‖) [bold]"},
        {"name": "jaccard", "default": False, "compares": "sets", "definition": "|S_a ∩ S_b| / |S_a ∪ S_b|"},
    ],
}


def score_document(n_layers=LAYERS, low=0.2):
    layers = [{"layer": layer, "score": low + 0.02 * layer} for layer in range(1, n_layers + 1)]
    undefined = [{"layer": layer, "score": None} for layer in range(1, n_layers + 1)]
    kinds = ("q", "k", "v", "o", "gate", "up", "down")
    share = 1 / n_layers / len(kinds)
    return {
        "sentences": ["[bold]one[/bold] sentence", "zwei\nSätze \x1b[31m"],
        "readouts": [1.25, -3.5],
        "model": {"name": "example/model"},
        "objective": "nll",
        "pattern": "absolute-weighted",
        "band": {"name": "deep", "layers": list(range(n_layers // 2 + 1, n_layers + 1))},
        "scores": [
            {"measure": "cosine", "band": low + 0.1, "layers": layers},
            {"measure": "jaccard", "band": None, "layers": undefined},
        ],
        "notes": ["a note"],
        "explanation": {
            "layers": [{"layer": layer, "share": 1 / n_layers} for layer in range(1, n_layers + 1)],
            "kinds": [
                {"layer": layer, "kind": kind, "share": share} for layer in range(1, n_layers + 1) for kind in kinds
            ],
            "n_heads": 144,
            "heads": [{"layer": 3, "role": "key-value", "head": 7, "share": 0.0625, "kinds": {"k": 0.05, "v": 0.0125}}],
            "n_neurons": 999,
            "neurons": [],
        },
    }


def model_document():
    agreement = {"n": 256, "spearman": 0.991, "ratio_median": 1.002, "ratio_p10": 0.9, "ratio_p90": 1.1}
    row = {"weights": agreement, "neurons": agreement | {"spearman": None}, "neurons_absolute": agreement}
    return {
        "name": "example/model",
        "source_note": "from a folder",
        "architecture": "LlamaModel",
        "family": "encoder",
        "n_layers": 3,
        "dtype": "float32",
        "device": "cpu",
        "pooling": "mean",
        "head": ["Dense(8)", "Normalize()"],
        "objective": "embedding-norm",
        "objectives": ["embedding-norm"],
        "max_tokens": 64,
        "batchable": False,
        "exclusions": [
            {"name": "a.bias", "shape": [2, 2], "reason": "a lookup table", "parameters": 4},
            {"name": "b.bias", "shape": [2, 2], "reason": "a lookup table", "parameters": 4},
        ],
        "tied": ["lm_head.weight"],
        "parts": [{"name": "embeddings", "parameters": 600_000}],
        "scored_parameters": 1_234_567,
        "unscored_in_blocks": 890,
        "total_parameters": 1_835_457,
        "flops": {"tokens": 32, "forward": 10**9, "backward": 10**9, "total": 2 * 10**9},
        "memory": {
            "batch_tokens": 1024,
            "sentences": 32,
            **dict.fromkeys(("weights", "activations", "traces", "workspace"), 2**20),
            "total": 2**22,
        },
        "notes": ["one sentence at a time"],
        "estimate_check": {
            "objective": "embedding-norm",
            "dtype": "float64",
            "texts": 4,
            "weights_per_layer": 64,
            "neurons_per_layer": 8,
            "layers": [{"layer": 1, **row}],
            "overall": {"layer": None, **row},
            "notes": ["a note on the check"],
        },
    }


RUNS = [
    (
        1,
        2,
        {
            "maps": 3,
            "parameters": 1000,
            "kinds": [{"kind": "q", "maps": 3, "shapes": [[8, 8], [8, 8], [8, 16]], "parameters": 1000}],
        },
    ),
    (
        3,
        3,
        {
            "maps": 1,
            "parameters": 64,
            "kinds": [{"kind": "a_very_long_name_of_a_map", "maps": 1, "shapes": [[8, 8]], "parameters": 64}],
        },
    ),
]
PAGES = {
    "list": listing(LISTING),
    "score": score_report(score_document()),
    "score with negative values": score_report(score_document(low=-0.3)),
    "info": model_report(model_document(), RUNS),
}


def printed(page, width=80, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    Console(file=stream, width=width).print(page)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_page_stays_within_its_width_in_any_encoding(name, width, encoding):
    text = printed(PAGES[name], width, encoding)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert encoding == "utf-8" or text.isascii()


def test_a_list_has_every_field_and_keeps_brackets():
    text = words(printed(listing(LISTING), width=120))
    for part in (
        "pairs made-up pairs",
        "release new (default): train 400, test * 120",
        "release old: train 390, test *",
        "scores 0 to 5; columns left or first, right, score",
        "licence: CC0",
        LISTING["datasets"][0]["url"],
        "letters made-up letters",
        "splits: train, test * 30",
        "text: a text a row",
        "the first text: Dear [bold]friend, yours",
        "cosine * patterns Σ P_a P_b / (‖P_a‖ ‖P_b‖) [bold]",
        "jaccard sets |S_a ∩ S_b| / |S_a ∪ S_b|",
    ):
        assert part in text


def test_a_score_shows_layers_band_and_undefined_values():
    document = score_document()
    lines = [line.split() for line in printed(score_report(document)).splitlines() if line]
    for row in document["scores"][0]["layers"]:
        line = next(line for line in lines if line[0] == str(row["layer"]))
        star = ["*"] if row["layer"] in document["band"]["layers"] else []
        assert line[: 3 + len(star)] == [str(row["layer"]), *star, f"{row['score']:.3f}", "–"]
    text = printed(score_report(document))
    assert "deep band (layers 7-12): cosine 0.300, jaccard –" in text
    assert "a: [bold]one[/bold] sentence   (D = 1.25)" in text
    assert "b: zwei Sätze \\x1b[31m   (D = -3.5)" in text
    assert "- a note" in text


def test_an_explanation_shows_shares_in_percent_and_leaves_out_what_is_not_resolved():
    text = printed(score_report(score_document()))
    assert "largest of 144 attention heads, % of the whole" in text
    assert "3   key-value      7   6.250   5.000   1.250" in text
    assert "neurons" not in text
    assert "8.333" in text


def test_a_score_without_an_explanation_has_no_shares():
    document = score_document()
    del document["explanation"]
    assert "%" not in printed(score_report(document))


def test_a_model_shows_maps_parameters_exclusions_costs_and_notes():
    document = model_document()
    text = words(printed(model_report(document, RUNS), width=100))
    for part in (
        "LlamaModel, encoder, 3 layers",
        "mean -> Dense(8) -> Normalize()",
        "at most 64 tokens, one at a time",
        "1-2 q 3 8 x 8, 8 x 16 1,000",
        "scored 1,234,567 67.262",
        "outside: embeddings 600,000",
        "not scored: a.bias and 1 more: a lookup table",
        "lm_head.weight",
        "total 2 G",
        "total 4 MiB",
        "one sentence at a time",
        "1 0.991 1.002 – 1.002 0.991 1.002",
        "neurons: 80 % of the ratios in [0.900, 1.100], n = 256",
        "a note on the check",
    ):
        assert part in text, part
    without = copy.deepcopy(document)
    del without["estimate_check"]
    assert "estimate against" not in printed(model_report(without, RUNS))


@pytest.mark.parametrize(
    ("value", "base", "unit", "text"),
    [
        (0, 1000, "", "0"),
        (999, 1000, "", "999"),
        (1000, 1000, "", "1 K"),
        (1_234_000_000, 1000, "", "1.23 G"),
        (5e18, 1000, "", "5e+03 P"),
        (1023, 1024, "iB", "1023 B"),
        (3 * 2**29, 1024, "iB", "1.5 GiB"),
    ],
)
def test_magnitudes(value, base, unit, text):
    assert magnitude(value, base, unit) == text


def test_percentages():
    assert [percentage(share) for share in (0.123, 1.0, None)] == ["12.300", "100.000", "–"]


def test_the_directory_of_a_run_stands_on_a_line_of_its_own(tmp_path):
    directory = tmp_path / ("long-" * 20)
    blank, first, *rest = files_lines(directory, [f"file-{number}.csv" for number in range(20)])
    assert (blank, first) == ("", f"files in {directory}:")
    assert max(map(len, rest)) <= 80
    assert " ".join(words(" ".join(rest)).split(", ")).split() == [f"file-{number}.csv" for number in range(20)]
