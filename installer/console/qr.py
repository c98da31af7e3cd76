"""A link as a QR code for a terminal: half blocks where the font has them, else plain ASCII."""

from __future__ import annotations

import segno

#: Light modules around the code. The standard says four (ISO/IEC 18004); readers manage with two,
#: and a screen of 25 lines has no more.
BORDER = 2

Matrix = tuple[tuple[bool, ...], ...]


def matrix(text: str) -> Matrix:
    """The modules with their border; True is dark."""
    code = segno.make_qr(text, error="l", boost_error=False)
    return tuple(tuple(bool(module) for module in row) for row in code.matrix_iter(border=BORDER))


def half_blocks(modules: Matrix) -> list[str]:
    """Two rows of modules a line. Terminals are dark, so what is light is drawn."""
    rows = [*modules, *((tuple(True for _ in modules[0]),) if len(modules) % 2 else ())]
    symbols = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
    return [
        "".join(symbols[upper, lower] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    ]


def ascii_blocks(modules: Matrix) -> list[str]:
    """One row of modules a line, two columns a module: any terminal, any font."""
    return ["".join("  " if dark else "##" for dark in row) for row in modules]
