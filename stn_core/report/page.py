"""A page made from its template."""

from __future__ import annotations

from typing import Any

from stn_core.errors import needs_extra, printable

with needs_extra("report"):
    import jinja2

from stn_core.report.text_table import WORDS


def _safe(value: Any) -> Any:
    """A text with the characters that turn or break a line escaped; our own markup as it is."""
    return printable(value) if type(value) is str else value


def render(template: str, **content: Any) -> str:
    """A page from a template; the content is escaped, unless it is our own markup."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stn_core.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    environment.globals["words"] = WORDS
    return environment.get_template(template).render(**content)
