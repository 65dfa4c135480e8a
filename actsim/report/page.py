"""Pages that need no network: templates, styles, scripts, plotly.js and data in one HTML file.

Every text goes through Jinja's escaping or into a JSON block that cannot end its element. The page's content security
policy allows the scripts it was written with, by their hashes, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from actsim.errors import MissingExtraError

PACKAGES = ("plotly", "jinja2")
EXTRA = "report"
TEMPLATES = "templates"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
"""What a page may do, its own scripts aside; plotly sets styles."""

_IN_JSON = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def missing_packages() -> list[str]:
    """Those packages of the extra ``report`` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def check_packages(purpose: str) -> None:
    """Raise MissingExtraError when a page cannot be written for want of a package."""
    if missing := missing_packages():
        raise MissingExtraError(missing[0], EXTRA, purpose)


def embedded_json(value: Any) -> str:
    """JSON for a script element: no text in it can end the element, open a comment or break a line of script.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = re.sub("[<>&\u2028\u2029]", lambda match: _IN_JSON[match[0]], text)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def resource(name: str) -> str:
    """A file beside the templates."""
    return (resources.files("actsim.report") / TEMPLATES / name).read_text(encoding="utf-8")


def render_page(template: str, data: Any, scripts: Sequence[str], context: Mapping[str, Any]) -> str:
    """A template that extends ``page.html.j2``, with everything it needs inside.

    Args:
        template: its name.
        data: JSON-ready; the element ``#data`` holds it for the scripts.
        scripts: file names beside the templates, run after plotly.js in this order.
        context: what the template shows; text is escaped, ``markupsafe.Markup`` is not.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    check_packages("an HTML page")
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("actsim.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    programs = [_script(get_plotlyjs()), *(_script(resource(name)) for name in scripts)]
    hashes = " ".join(f"'sha256-{_sha256(program)}'" for program in programs)
    return environment.get_template(template).render(
        **context,
        style=Markup(resource("page.css")),
        data=Markup(embedded_json(data)),
        scripts=[Markup(program) for program in programs],
        policy=f"{POLICY}; script-src {hashes}",
    )


def _script(text: str) -> str:
    """A program as it stands in the page; one that would end its element is refused."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError("a script of the page holds </script or <!--, which would end or hide it")
    return text


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
