"""The card as a picture, for documents: drawn from the same rows, without any other program."""

from __future__ import annotations

from html import escape

from installer.console import card, qr
from installer.console.facts import Facts

CHARACTER = (8.4, 18)
MARGIN = 24
MODULE = 6
#: Renderers fold ordinary spaces, whatever xml:space says.
NO_BREAK = "\N{NO-BREAK SPACE}"
COLOURS = {"": "#e6e6e6", "ok": "#7fd88f", "warn": "#f0c674", "error": "#ff8080"}


def render_svg(facts: Facts) -> str:
    """The card with its QR code beside it."""
    lines = [("", line) for line in (card.title(facts), "")]
    lines += [(row.tone, line) for row in card.rows(facts) for line in card.wrapped(row, 60)]
    lines += [("", ""), ("", card.footer(facts))]
    modules = qr.matrix(facts.link()) if facts.link() else ()
    text_width = max(len(line) for _, line in lines) * CHARACTER[0]
    side = len(modules) * MODULE
    width = 2 * MARGIN + text_width + (side + MARGIN if side else 0)
    height = 2 * MARGIN + max(len(lines) * CHARACTER[1], side)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(card.title(facts))}</title>",
        '<rect width="100%" height="100%" rx="10" fill="#16181d"/>',
        '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">',
    ]
    for number, (tone, line) in enumerate(lines):
        y = MARGIN + (number + 1) * CHARACTER[1] - 5
        text = escape(line).replace(" ", NO_BREAK)
        parts.append(f'<text x="{MARGIN}" y="{y}" fill="{COLOURS[tone]}">{text}</text>')
    parts.append("</g>")
    if modules:
        parts += _qr(modules, 2 * MARGIN + text_width, MARGIN)
    return "\n".join([*parts, "</svg>", ""])


def _qr(modules: qr.Matrix, left: float, top: float) -> list[str]:
    side = len(modules) * MODULE
    path = "".join(
        f"M{column * MODULE} {row * MODULE}h{MODULE}v{MODULE}h-{MODULE}z"
        for row, line in enumerate(modules)
        for column, dark in enumerate(line)
        if dark
    )
    return [
        f'<g transform="translate({left:.0f} {top})">',
        f'<rect width="{side}" height="{side}" fill="#fff"/>',
        f'<path d="{path}" fill="#000"/>',
        "</g>",
    ]
