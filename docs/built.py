"""How mkdocs builds these pages, which are written for GitHub: its headings' anchors, links to files beside docs/, the order
of docs/index.md. The hooks that mkdocs.yml names."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
logger = logging.getLogger("mkdocs.hooks.keyturn")  # below `mkdocs`, so that --strict counts its warnings


def parts(index: str) -> dict[str, list[str]]:
    """The pages of each part, as docs/index.md has them: by its headings of the second level, in the order of its lines."""
    found: dict[str, list[str]] = {}
    for heading, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", index, re.DOTALL | re.MULTILINE):
        found[heading] = re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\)", text, re.MULTILINE)
    return found


def anchor(heading: str, separator: str = "-") -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """The navigation, and GitHub's anchors."""
    config.mdx_configs["toc"] = {"slugify": anchor}
    every = parts((ROOT / "docs" / "index.md").read_text())
    config.nav = [{"keyturn": "index.md"}, *({part: pages} for part, pages in every.items())]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to what stands beside docs/: mkdocs knows docs/ alone, so it is here that they are looked at."""

    def beside(found: re.Match[str]) -> str:
        path = found[1].partition("#")[0]
        if not (ROOT / path).exists():
            logger.warning("%s: there is no %s", page.file.src_uri, path)
        return f"](/{found[1]})"

    return re.sub(r"\]\(\.\./([^)\s]+)\)", beside, markdown)
