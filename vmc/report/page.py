"""Writes a page as one HTML file that loads nothing (Jinja2, of the extra `plots`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.extras import VERSION, missing
from vmc.report.blocks import Page
from vmc.storage.files import replacing

_TEMPLATES = Path(__file__).parent / "templates"
ENDING = ".html"


def check_page_path(path: Path) -> None:
    """Raises a `VmcError` if the file's name is no page's. Call it before any work."""
    if path.suffix != ENDING:
        raise VmcError(f"{path} does not end with {ENDING}.", f"Give --to FILE{ENDING}.")


def write_page(path: Path, page: Page) -> None:
    """Writes the page.

    Raises:
        VmcError: Jinja2 is not installed, or the file cannot be written.
    """
    text = page_html(page)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def page_html(page: Page) -> str:
    """The page as HTML. All texts are escaped; the figures are inside.

    Raises:
        VmcError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise missing("plots") from None
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = _prose
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(page=page, style=style, version=VERSION)


def _prose(text: str) -> Any:
    """Escapes a text, and sets what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
