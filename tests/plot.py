#!/usr/bin/env python3
"""Draws what tests/bench-peers.sh measured into docs/performance, and with --table writes it into docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from peers import page, plots, results

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> int:
    """Read, draw, write; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=DOCS / "performance" / "results.json", help="the JSON of a run")
    parser.add_argument("--out", type=Path, default=DOCS / "performance", metavar="DIR", help="where the plots go")
    parser.add_argument("--table", action="store_true", help="write the tables into the document too")
    parser.add_argument("--document", type=Path, default=DOCS / "performance.md", metavar="FILE", help="which one")
    asked = parser.parse_args()
    try:
        document = results.read(asked.result)
        drawn = plots.files(document)
        asked.out.mkdir(parents=True, exist_ok=True)
        for plot in plots.PLOTS:
            # One that is not measured any more must not stay.
            (asked.out / plot.file).unlink(missing_ok=True)
        for name, text in drawn.items():
            (asked.out / name).write_text(text)
        if asked.table:
            page.write(asked.document, document, asked.out, sorted(drawn))
    except (OSError, ValueError) as error:
        print(f"plot.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
