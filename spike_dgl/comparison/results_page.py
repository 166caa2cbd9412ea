"""Several studies on one page, such as ``docs/results.md``, written from their folders."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.comparison.folder import StudyFolder
from spike_dgl.config import STRICT, build, read_yaml
from spike_dgl.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class Section:
    """One study on the page.

    Parameters
    ----------
    folder
        Of the study.
    text
        What a reader should know beforehand. Who is ahead is written below it, from the figures.
    """

    folder: str
    text: str = ""


@dataclass(frozen=True, config=STRICT)
class Report:
    """A page of studies.

    Parameters
    ----------
    title
        Its heading.
    studies
        In the order of the page; each is headed by the title of its bench file.
    text
        The first paragraphs.
    """

    title: str
    studies: tuple[Section, ...] = Field(min_length=1)
    text: str = ""


def read_report(file: Path) -> Report:
    """Read the list of studies. Raises `ConfigError` for an unknown key or a missing one."""
    content = read_yaml(file)
    try:
        return build(Report, content, "report")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def render_report(report: Report, file: Path) -> str:
    """The page in Markdown; `file` is named as its source. Raises `DataError` where a study is missing."""
    parts = [
        f"<!-- Written from run folders by `python main.py bench report {file}`; change it there. -->",
        f"# {report.title}",
        report.text.strip(),
    ]
    for section in report.studies:
        folder = StudyFolder(Path(section.folder))
        comparison = folder.comparison()
        parts += [f"## {comparison.study.file.title}", section.text.strip(), folder.report(comparison)]
    return "\n\n".join(filter(None, parts)) + "\n"
