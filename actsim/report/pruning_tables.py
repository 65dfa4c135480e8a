"""What ``actsim prune`` and ``actsim ppl`` print: the plan with what was achieved, and a perplexity."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from actsim.report.terminal import Document, Ink, Page
from actsim.report.wording import MISSING, Row, counted, number, one_line

DIGITS = 4

SCORES = {"wanda": "|W| · ‖x‖", "magnitude": "|W|", "activation": "mean |W ⊙ ∂D/∂W|"}
"""Scores, and what they are."""


def plan_table(plan: Document) -> Page:
    """Planned and achieved sparsity of every block and of all."""
    return Page(lambda ink: _plan_blocks(ink, plan))


def _plan_blocks(ink: Ink, plan: Document) -> Iterator[RenderableType]:
    yield ink.text(f"pruned: {one_line(plan['model']['name'])}", "bold")
    settings = "".join(f", {name} {value:g}" for name, value in plan["settings"].items())
    form = f"{plan['n_of_m']} in every row" if plan["n_of_m"] else "lowest of every output row"
    yield ink.text(
        f"{plan['score']} ({SCORES[plan['score']]}), {form}; allocation {plan['allocation']}{settings}", "dim"
    )
    yield Text()
    with_profile = plan["blocks"][0]["profile"] is not None
    headings = ["layer", "parameters", *(["profile"] if with_profile else []), "planned", "achieved"]
    rows = [[row["layer"], *_cells(row, with_profile)] for row in plan["blocks"]]
    rows.append(["all", *_cells({**plan, "profile": None}, with_profile)])
    yield ink.table(headings, rows, labels=["layer"])
    if plan["notes"]:
        yield Text()
        yield from (ink.text(f"- {one_line(note)}") for note in plan["notes"])


def _cells(row: Row, with_profile: bool) -> list[str]:
    profile = MISSING if row["profile"] is None else f"{row['profile']:.4g}"
    sparsities = [number(row[key], DIGITS) for key in ("sparsity", "achieved")]
    return [f"{row['parameters']:,}", *([profile] if with_profile else []), *sparsities]


def perplexity_table(document: Document) -> Page:
    """A perplexity with its context, and what it is of."""
    return Page(lambda ink: _perplexity_blocks(ink, document))


def _perplexity_blocks(ink: Ink, document: Document) -> Iterator[RenderableType]:
    data = document["data"]
    name = ", ".join(one_line(part) for part in (data["name"], data["split"]) if part)
    yield ink.text(f"perplexity {number(document['perplexity'])} at context {document['context']}", "bold")
    yield ink.text(f"{one_line(document['model']['name'])} on {name}, {document['dtype']}", "dim")
    yield Text()
    rows = [
        ["mean negative log-likelihood", f"{number(document['nll'], DIGITS)} nats per predicted token"],
        ["windows", f"{document['windows']:,} of {document['context']} tokens, which do not see each other"],
        ["predicted tokens", f"{document['predicted']:,}, all of a window but its first"],
        ["text", f"{document['tokens']:,} tokens, {counted(data['rows'], 'row')} joined by blank lines"],
        ["left out at the end", counted(document["left_over"], "token")],
    ]
    yield ink.table(["", " "], rows, labels=["", " "])
    yield from (ink.text(f"- {one_line(note)}") for note in document["notes"])
