"""SVG as text: the same drawing is always the same bytes."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

STYLE = """
.page { fill: #ffffff }
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.quiet, .tick { fill: #59636e }
.tick, .value { font-size: 12px }
.value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.target { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 4 3 }
.mark { stroke: #ffffff; stroke-width: 1 }
.range { stroke-width: 2; stroke-linecap: round }
.leveret { fill: #0066b3 } .range.leveret { stroke: #0066b3 }
.rabbitmq { fill: #c8500a } .range.rabbitmq { stroke: #c8500a }
.lavinmq { fill: #00805c } .range.lavinmq { stroke: #00805c }
.relay { fill: #6e7781 } .range.relay { stroke: #6e7781 }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 }
  text { fill: #e6edf3 }
  .quiet, .tick { fill: #9198a1 }
  .grid { stroke: #30363d }
  .target { stroke: #e6edf3 }
  .mark, .value { stroke: #0d1117 }
  .leveret { fill: #58a6ff } .range.leveret { stroke: #58a6ff }
  .rabbitmq { fill: #ff9a57 } .range.rabbitmq { stroke: #ff9a57 }
  .lavinmq { fill: #3fb98c } .range.lavinmq { stroke: #3fb98c }
  .relay { fill: #9198a1 } .range.relay { stroke: #9198a1 }
}
"""


def place(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


class Drawing:
    """A page that things are put on."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{place(width)}" height="{place(height)}" '
            f'viewBox="0 0 {place(width)} {place(height)}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{place(width)}" height="{place(height)}"/>',
        ]

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Text on a base line."""
        class_ = f" class={quoteattr(kind)}" if kind else ""
        self.parts.append(f'<text x="{place(x)}" y="{place(y)}"{class_}>{escape(text)}</text>')

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        self.parts.append(
            f'<line x1="{place(x1)}" y1="{place(y1)}" x2="{place(x2)}" y2="{place(y2)}" class={quoteattr(kind)}/>'
        )

    def mark(self, x: float, y: float, kind: str) -> None:
        """A point in the colour and the form of a contender: disc, square, diamond or triangle."""
        class_ = quoteattr(f"mark {kind}")
        forms: dict[str, list[tuple[float, float]]] = {
            "rabbitmq": [(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)],
            "lavinmq": [(0, -6.5), (6.5, 0), (0, 6.5), (-6.5, 0)],
            "relay": [(0, -5.5), (6, 5), (-6, 5)],
        }
        corners = forms.get(kind)
        if corners is None:
            self.parts.append(f'<circle cx="{place(x)}" cy="{place(y)}" r="5.5" class={class_}/>')
            return
        points = " ".join(f"{place(x + across)},{place(y + down)}" for across, down in corners)
        self.parts.append(f'<polygon points="{points}" class={class_}/>')

    def finish(self) -> str:
        """The file's text."""
        return "\n".join([*self.parts, "</svg>", ""])
