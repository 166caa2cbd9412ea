"""MkDocs hook: anchors as on GitHub, links to files outside docs/, and formulas without a script."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = "repository:"
"""Scheme of a link to a file outside docs/ while MkDocs checks the links, which leaves unknown schemes alone."""

log = logging.getLogger("mkdocs.hooks.site")


def github_anchor(heading: str, separator: str) -> str:
    """Return the anchor that GitHub gives a heading; the default one merges repeated dashes."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def mathml(formula: str, display: str = "inline") -> str:
    """Return a formula in LaTeX as MathML, which browsers draw themselves."""
    # The converter does not know \Vert, the sign of concatenation.
    known = re.sub(r"(\\[bB]igg?)?\\[lr]?Vert(?![a-zA-Z])", "∥", formula.strip())
    return convert(known, display=display)


def displayed(formula: str, *_: Any, **__: Any) -> str:
    """Return the formula of a fenced block."""
    return f'<div class="formula">{mathml(formula, "block")}</div>'


class InlineFormula(InlineProcessor):
    """Inline formula in GitHub's notation: a code span between dollar signs."""

    def handleMatch(self, match: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802, ARG002
        """Return the formula's place, start and end; its MathML is put there at the end."""
        return self.md.htmlStash.store(mathml(match[1])), match.start(0), match.end(0)


class OutsideLinks(Treeprocessor):
    """Marks links to files outside docs/, and reports those whose file does not exist."""

    page: Page | None = None

    def run(self, root: Element) -> None:
        """Replace such links by `OUTSIDE` and the path in the repository."""
        if self.page is None:
            return
        folder = (DOCS / self.page.file.src_uri).parent
        for link in root.iter("a"):
            path, hash_sign, anchor = link.get("href", "").partition("#")
            target = Path(os.path.normpath(folder / path))
            if not path or re.match(r"[a-z]+:", path) or target.is_relative_to(DOCS):
                continue
            if not target.exists():
                log.warning("%s links to %s, which does not exist", self.page.file.src_uri, path)
            link.set("href", f"{OUTSIDE}{target.relative_to(ROOT).as_posix()}{hash_sign}{anchor}")


class SiteExtension(Extension):
    """Adds `InlineFormula` and `OutsideLinks`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register both; MkDocs checks links with priority 0, after `OutsideLinks`."""
        md.inlinePatterns.register(InlineFormula(r"\$`([^`]+)`\$", md), "formula", 195)
        md.treeprocessors.register(OutsideLinks(md), "outside-links", 1)


def on_config(config: MkDocsConfig) -> None:
    """Set what needs Python objects, which a YAML file cannot hold."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = github_anchor
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "math", "format": displayed})
    config.markdown_extensions.append(SiteExtension())


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> None:  # noqa: ARG001
    """Remember the page that is converted next, and let the search list pages of prose before the API."""
    OutsideLinks.page = page
    if page.file.src_uri.startswith("reference/"):
        page.meta.setdefault("search", {})["boost"] = 0.2


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Point links to files outside docs/ to the repository: its address, or the folder that holds the site."""
    start = f"{config.repo_url}/blob/main/" if config.repo_url else "../" * (page.url.count("/") + 1)
    return html.replace(f'href="{OUTSIDE}', f'href="{start}')
