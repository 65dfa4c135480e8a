import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.errors import MissingExtraError
from actsim.report import page
from actsim.report.page import check_packages, embedded_json, resource

FILES = (
    *("page.html.j2", "parts.html.j2", "report.html.j2", "compare.html.j2"),
    *("page.css", "figures.js", "pairs.js"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_embedded_json_reads_back_as_the_value(value):
    assert json.loads(embedded_json(value)) == value


@given(text=st.text() | st.sampled_from(["</script>", "<!--", "]]>", "\u2028", "\ud800", "&lt;"]))
def test_embedded_json_has_no_character_that_html_or_script_would_read(text):
    written = embedded_json({text: [text]})
    assert not set(written) & set("<>&\u2028\u2029")
    assert written.encode()


def test_embedded_json_refuses_what_json_lacks():
    with pytest.raises(ValueError, match="JSON"):
        embedded_json([float("nan")])


@pytest.mark.parametrize("missing", [["plotly"], ["jinja2"], ["plotly", "jinja2"]])
def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch, missing):
    def find_spec(name):
        return None if name in missing else name

    monkeypatch.setattr(page.importlib.util, "find_spec", find_spec)
    with pytest.raises(MissingExtraError, match=rf"report.html needs {missing[0]}.*pip install 'actsim\[report\]'"):
        check_packages("report.html")


def test_templates_and_their_companions_ask_for_nothing_from_elsewhere():
    for name in FILES:
        text = resource(name)
        assert "http" not in text.replace("http-equiv", "")
        assert "url(" not in text
        assert "innerHTML" not in text and "| safe" not in text
