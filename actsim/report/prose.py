"""The Markdown that ``actsim.report.markdown`` writes, as HTML: one wording for both forms of a report.

Known are the forms that it uses: headings, paragraphs, lists, tables, fenced code, strong and emphasised text, links,
backslash escapes. Whatever else stands in the text is shown as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

_INLINE = re.compile(
    r"\\(?P<escape>[!-/:-@\[-`{-~])"
    r"|(?P<strong>\*\*)"
    r"|(?P<emphasis>\*)"
    r"|\[(?P<label>(?:\\.|[^\]\\])*)\]\((?P<target>https://[^)\s]+)\)"
)


def sections(markdown: str) -> dict[str, str]:
    """The text under each heading of the second level, in order; what stands before the first is under ``""``.

    The heading of the first level is left out; a heading that occurs again continues its section.
    """
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for block in blocks(markdown):
        if block.startswith("## "):
            heading = block.removeprefix("## ")
            found.setdefault(heading, [])
        elif not block.startswith("# "):
            found[heading].append(block)
    return {name: "\n\n".join(body) for name, body in found.items()}


def blocks(markdown: str) -> Iterator[str]:
    """The blocks of a text, which blank lines set apart, but for those inside a fence."""
    block: list[str] = []
    fence = ""
    for line in markdown.splitlines():
        if fence or line.strip():
            block.append(line)
        if fence:
            fence = "" if line == fence else fence
        elif match := re.match(r"`{3,}", line):
            fence = match[0]
        if block and not fence and not line.strip():
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def to_html(markdown: str) -> str:
    """The blocks of one section as HTML; images are left out, for a page draws its figures itself."""
    return "\n".join(_block(block) for block in blocks(markdown) if not block.startswith("!["))


def _block(block: str) -> str:
    lines = block.split("\n")
    if block.startswith("```"):
        return f"<pre><code>{html.escape(chr(10).join(lines[1:-1]))}</code></pre>"
    if block.startswith("|"):
        return _table(lines)
    if block.startswith("- "):
        items = "".join(f"<li>{inline(line.removeprefix('- '))}</li>" for line in lines)
        return f"<ul>{items}</ul>"
    if match := re.match(r"(#+) (.*)", block):
        level = len(match[1])
        return f"<h{level}>{inline(match[2])}</h{level}>"
    return f"<p>{inline(block)}</p>"


def inline(text: str) -> str:
    """One line of Markdown as HTML."""
    pieces: list[str] = []
    is_open = {"strong": False, "em": False}
    end = 0
    for match in _INLINE.finditer(text):
        pieces.append(html.escape(text[end : match.start()]))
        end = match.end()
        if match["escape"]:
            pieces.append(html.escape(match["escape"]))
        elif match["target"]:
            pieces.append(f'<a href="{html.escape(match["target"])}" rel="noreferrer">{inline(match["label"])}</a>')
        else:
            tag = "strong" if match["strong"] else "em"
            pieces.append(f"</{tag}>" if is_open[tag] else f"<{tag}>")
            is_open[tag] = not is_open[tag]
    return "".join([*pieces, html.escape(text[end:])])


def _table(lines: Sequence[str]) -> str:
    """A table that scrolls sideways where it is too wide; right-aligned columns hold figures."""
    header, rule, *rows = [_cells(line) for line in lines]
    kinds = [' class="num"' if mark.endswith(":") else "" for mark in rule]
    head = "".join(f'<th scope="col"{kind}>{inline(cell)}</th>' for cell, kind in zip(header, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{inline(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    label = html.escape(re.sub("<[^>]*>", "", inline(", ".join(cell for cell in header if cell))))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="table: {label}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:]]
