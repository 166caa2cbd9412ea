"""Links in the pages are valid, and so are commands and settings in them; nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from spike_dgl.cli import cli
from spike_dgl.config import flat
from spike_dgl.models.base import registered_models
from spike_dgl.runs.config import SECTIONS, known_settings, load_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "notebooks" / "README.md"]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^()\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
SETTING = re.compile(rf"\b((?:{'|'.join(SECTIONS)}|model)(?:\.[a-z0-9_]+)+)=")
CONFIG = re.compile(r"(?<![\w/])(?:configs|notebooks)/[a-z0-9/._-]+\.yaml")
TEST = re.compile(r"\[`(test_\w+)`\]\(([^()\s]+)\)")
PROGRAM = re.compile(r"^\s*(?:[^#`]*\s)?(?:main\.py|spike-dgl) ([^`]*)$")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_text = pytest.mark.parametrize("file", [*PAGES, *CONFIGS], ids=lambda file: str(file.relative_to(ROOT)))


def lines_to_type(file: Path) -> Iterator[str]:
    """Lines of code blocks and inline code of a page, and comments of a configuration."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".yaml":
        yield from (line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
        return
    for _, block in FENCED.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from (" ".join(code.split()) for code in INLINE.findall(FENCED.sub("", text)))


def commands(file: Path) -> Iterator[list[str]]:
    """Arguments of each call of the program in a file, as a shell would split them."""
    for line in lines_to_type(file):
        if call := PROGRAM.match(line):
            arguments = shlex.split(call[1], comments=True)
            ends = [place for place, word in enumerate(arguments) if word in ("|", "&&", ";", ">")]
            yield arguments[: min(ends, default=None)]


def check(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Parse a call down to the last sub-command; raise click's errors.

    A command without arguments may be mentioned only by name.
    """
    if parent is not None and not arguments:
        return
    context = command.make_context(command.name, list(arguments), parent=parent)
    if isinstance(command, click.Group):
        first = vars(context).get("_protected_args", vars(context).get("protected_args"))  # before click 8.2
        rest = [*first, *context.args]
        _, sub_command, rest = command.resolve_command(context, rest)
        assert sub_command is not None
        check(sub_command, rest, context)


@cache
def settings() -> set[str]:
    return {key for model in registered_models() for key in known_settings(model)}


@cache
def anchors(page: Path) -> set[str]:
    """Return GitHub's anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in (first or second for first, second in LINK.findall(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@each_text
def test_commands_exist_and_have_these_options(file: Path) -> None:
    wrong = []
    for arguments in commands(file):
        try:
            check(cli, arguments)
        except click.ClickException as error:
            wrong.append(f"{shlex.join(arguments)}: {error.format_message()}")
    assert not wrong


@each_text
def test_settings_exist(file: Path) -> None:
    named = {key for line in lines_to_type(file) for key in SETTING.findall(line)}
    assert named <= settings()


@each_text
def test_configurations_exist(file: Path) -> None:
    named = set(CONFIG.findall(file.read_text(encoding="utf-8")))
    assert [
        name for name in named if not name.startswith("configs/tuned/") and not (ROOT / name).exists()
    ] == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", "No such command"),
        ("train --confg FILE", "No such option"),
        ("speed --nodes many", "not a valid integer"),
        ("prepare films A B", "No such command"),
        ("explain RUN --user 1", "Missing option"),
    ],
)
def test_mistakes_are_found(line: str, message: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```bash\npython main.py {line}    # what it does\n```\n")
    (arguments,) = commands(page)
    with pytest.raises(click.ClickException) as error:
        check(cli, arguments)
    assert message in error.value.format_message()


@each_page
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    named = TEST.findall(page.read_text(encoding="utf-8"))
    assert [test for test, file in named if f"def {test}(" not in (page.parent / file).read_text()] == []


def test_settings_of_the_paper_and_of_the_authors_code_are_as_told() -> None:
    page = (ROOT / "docs" / "faithfulness.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| `([\w.]+)` \| `(.+)` \| `(.+)` \| `(.+)` \|$", page, flags=re.MULTILINE)
    files = (None, ROOT / "configs" / "paper.yaml", ROOT / "configs" / "official.yaml")
    columns = [flat(load_config(file).to_mapping()) for file in files]
    assert len(rows) > 10
    for setting, *told in rows:
        assert [yaml.safe_load(value) for value in told] == [column[setting] for column in columns], setting
