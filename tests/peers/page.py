"""The part of docs/performance.md that is made from a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import plots, table

BEGIN = "<!-- What follows is written by tests/plot.py --table. -->"
END = "<!-- What was written by tests/plot.py ends here. -->"


def write(page: Path, document: Mapping[str, Any], pictures: Path, drawn: Sequence[str]) -> None:
    """Replaces what is between the marks; ValueError if they are not there, once and in order."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before + after:
        raise ValueError(f"{page} needs the line '{BEGIN}' once and after it '{END}'")
    place = Path(os.path.relpath(pictures.resolve(), page.parent.resolve())).as_posix()
    page.write_text(f"{before}{BEGIN}\n\n{text(document, place, drawn)}\n{END}{after}")


def text(document: Mapping[str, Any], place: str, drawn: Sequence[str]) -> str:
    """The tables, the plots and what did not go as it should, in Markdown."""
    parts = [table.conditions(document)]
    if document["settings"]["smoke"]:
        parts.append("**This was a smoke run: its numbers mean nothing.**")
    parts += [table.markdown(document)]
    parts += [f"![{plot.title}]({place}/{plot.file})" for plot in plots.PLOTS if plot.file in drawn]
    aside = table.markdown(document, aside=True)
    if aside:
        parts += ["What is told beside it:", aside]
    problems = table.problems(document)
    if problems:
        parts += ["What did not go as it should:", "\n".join(f"- {problem}" for problem in problems)]
    parts += ["The commands, to which `--url`, `--pid`, `--duration` and `--warmup` come:", commands(document)]
    return "\n\n".join(parts) + "\n"


def commands(document: Mapping[str, Any]) -> str:
    """What was run for each row."""
    lines = [f"| {row['name']} | {row['title']} | {shown(row['command'])} |" for row in document["rows"]]
    return "\n".join(["| Row | Work | Command |", "| --- | --- | --- |", *lines])


def shown(command: str) -> str:
    """A command as code, or what is done in place of one."""
    return f"`{command}`" if command.startswith("leveret") else command
