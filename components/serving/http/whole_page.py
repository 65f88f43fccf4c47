"""The page, in one file."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[1] / "page"
STYLE_LINK, SCRIPTS = '<link rel="stylesheet" href="page.css">', ("live.js", "faces.js", "page.js")


def whole_page() -> str:
    """The page with its style and script inside."""
    text = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    page = text["index.html"].replace(STYLE_LINK, f"<style>\n{text['page.css']}</style>")
    for name in SCRIPTS:
        page = page.replace(f'<script src="{name}"></script>', f"<script>\n{text[name]}</script>")
    return page
