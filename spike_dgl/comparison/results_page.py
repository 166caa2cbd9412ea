"""Page of several studies, such as ``docs/results.md``, rendered from their folders."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.comparison.folder import StudyFolder
from spike_dgl.config import STRICT, build, read_yaml
from spike_dgl.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class Section:
    """Study on the page.

    Parameters
    ----------
    folder
        Folder of the study.
    text
        Introduction. The results are rendered below it.
    """

    folder: str
    text: str = ""


@dataclass(frozen=True, config=STRICT)
class Report:
    """Page of studies.

    Parameters
    ----------
    title
        Heading of the page.
    studies
        Studies in order; the title of the bench file is the heading of each.
    text
        First paragraphs of the page.
    """

    title: str
    studies: tuple[Section, ...] = Field(min_length=1)
    text: str = ""


def read_report(file: Path) -> Report:
    """Read the list of studies. Raises `ConfigError` if a key is unknown or missing."""
    content = read_yaml(file)
    try:
        return build(Report, content, "report")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def render_report(report: Report, file: Path) -> str:
    """Render the page in Markdown, with `file` as its source. Raises `DataError` if a study is missing."""
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
