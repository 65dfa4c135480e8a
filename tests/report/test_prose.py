import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.report.markdown import code_block, escaped, report_markdown, table
from actsim.report.prose import blocks, inline, sections, to_html
from actsim.report.wording import one_line


class Reader(HTMLParser):
    """What a browser makes of a piece of HTML: its tags and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def cells(text):
    return [
        [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", text)
    ]


@given(text=st.text())
def test_escaped_text_is_shown_as_it_is_and_never_becomes_a_tag(text):
    read = Reader(inline(escaped(text)))
    assert read.tags == []
    assert read.text == one_line(text)


@given(rows=st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=4))
def test_every_cell_of_a_table_keeps_its_place_and_text(rows):
    found = cells(to_html(table(["left", "right"], [[escaped(cell) for cell in row] for row in rows])))
    assert found == [["left", "right"], *([one_line(cell) for cell in row] for row in rows)]


@given(text=st.text(alphabet="`#|- \nab", min_size=1))
def test_code_is_shown_as_it_is(text):
    (block,) = blocks(code_block(text))
    shown = html.unescape(to_html(block)).removeprefix("<pre><code>").removesuffix("</code></pre>")
    assert shown == text


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("a **b** c", "a <strong>b</strong> c"),
        ("*a* \\*b\\*", "<em>a</em> *b*"),
        (
            "[a & b](https://example.org/x?a=1&b=2)",
            '<a href="https://example.org/x?a=1&amp;b=2" rel="noreferrer">a &amp; b</a>',
        ),
        ("[a](javascript:alert(1))", "[a](javascript:alert(1))"),
        ("a < b", "a &lt; b"),
    ],
)
def test_inline_forms(markdown, expected):
    assert inline(markdown) == expected


def test_blocks_become_their_elements():
    found = to_html("one\n\n- a\n- b\n\n![figure](layers.svg)\n\n### three")
    assert found == "<p>one</p>\n<ul><li>a</li><li>b</li></ul>\n<h3>three</h3>"


def test_the_report_is_split_at_its_headings_and_nothing_is_lost(make_summary, manifest):
    summary = make_summary(4, causal=True, measures=("cosine", "ruzicka"), model="a|b*c*_d_`e`<script>")
    text = report_markdown(summary, manifest, {})
    found = sections(text)
    assert list(found)[:3] == ["", "Layers", "Baselines on the same pairs"]
    assert "".join(found.values()).count("\n| ") == text.count("\n| ") - sum(
        body.startswith("| ") for body in found.values()
    )
    assert Reader("".join(map(to_html, found.values()))).tags.count("script") == 0
