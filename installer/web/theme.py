"""Colours of the installed plugins as a stylesheet: the content security policy forbids inline style.

The accent is used as given for decoration; where text meets it, a shade is derived that keeps
WCAG's contrast of 4.5 on the light and on the dark scheme.
"""

from __future__ import annotations

import re

from flask import Blueprint, Response

from installer.web import wizard

page = Blueprint("theme", __name__)

Rgb = tuple[int, int, int]

CONTRAST = 4.5
#: What text stands on in wizard.css: --bg, --bg-card, --bg-soft, --bg-info.
LIGHT_GROUNDS: tuple[Rgb, ...] = ((245, 247, 249), (255, 255, 255), (238, 242, 245), (233, 241, 248))
DARK_GROUNDS: tuple[Rgb, ...] = ((16, 21, 28), (27, 34, 44), (35, 44, 55), (24, 42, 57))
TINT = 0.05

_NAMES: dict[str, Rgb] = {
    "black": (0, 0, 0), "silver": (192, 192, 192), "gray": (128, 128, 128), "grey": (128, 128, 128),
    "white": (255, 255, 255), "maroon": (128, 0, 0), "red": (255, 0, 0), "purple": (128, 0, 128),
    "fuchsia": (255, 0, 255), "green": (0, 128, 0), "lime": (0, 255, 0), "olive": (128, 128, 0),
    "yellow": (255, 255, 0), "navy": (0, 0, 128), "blue": (0, 0, 255), "teal": (0, 128, 128),
    "aqua": (0, 255, 255), "orange": (255, 165, 0), "rebeccapurple": (102, 51, 153),
}  # fmt: skip


@page.get("/static/theme.css")
def stylesheet() -> Response:
    """The variables that differ from the built-in palette."""
    plugins = wizard.current().plugins
    engine, provisioner = plugins.manifests.get("engine"), plugins.manifests.get("provisioner")
    text = render(
        primary=parse_colour(engine.accent_color if engine else None),
        tint=parse_colour(provisioner.accent_color if provisioner else None),
    )
    response = Response(text, mimetype="text/css")
    response.headers["Cache-Control"] = "max-age=300"
    return response


def render(*, primary: Rgb | None, tint: Rgb | None) -> str:
    """The stylesheet; empty where no plugin has a colour that we can read."""
    return _scheme(primary, tint, dark=False) + (
        "@media (prefers-color-scheme: dark) {\n" + _scheme(primary, tint, dark=True) + "}\n"
    )


def parse_colour(text: str | None) -> Rgb | None:
    """A CSS colour as red, green, blue; None for forms that we do not compute with."""
    text = (text or "").strip().lower()
    if text in _NAMES:
        return _NAMES[text]
    if match := re.fullmatch(r"#([0-9a-f]{3,8})", text):
        digits = match[1]
        if len(digits) in (3, 4):
            digits = "".join(digit * 2 for digit in digits)
        if len(digits) in (6, 8):
            return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    if match := re.fullmatch(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\b[^)]*\)", text):
        red, green, blue = (min(255, int(part)) for part in match.groups())
        return red, green, blue
    return None


def contrast(one: Rgb, other: Rgb) -> float:
    """WCAG 2.2 contrast ratio, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def readable(colour: Rgb, *grounds: Rgb) -> Rgb:
    """The nearest shade of `colour` that can be read as text on each of `grounds`, all light or all dark."""
    aim: Rgb = (0, 0, 0) if _luminance(grounds[0]) > 0.4 else (255, 255, 255)
    shades = (mix(colour, aim, share / 20) for share in range(21))
    return next(
        (shade for shade in shades if all(contrast(shade, ground) >= CONTRAST for ground in grounds)), aim
    )


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`one` with `share` of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _scheme(primary: Rgb | None, tint: Rgb | None, *, dark: bool) -> str:
    grounds = DARK_GROUNDS if dark else LIGHT_GROUNDS
    ground = mix(grounds[0], tint, TINT) if tint is not None else grounds[0]
    grounds = (ground, *grounds[1:])
    lines = []
    if primary is not None:
        # Buttons carry white text in both schemes; links and marks stand on the card.
        button = readable(primary, (255, 255, 255))
        lines += [
            f"--primary: {_hex(button)}",
            f"--primary-dark: {_hex(mix(button, (0, 0, 0), 0.2))}",
            f"--link: {_hex(readable(primary, *grounds))}",
        ]
    if tint is not None:
        lines.append(f"--bg: {_hex(ground)}")
    return ":root {" + "".join(f" {line};" for line in lines) + " }\n" if lines else ""


def _luminance(colour: Rgb) -> float:
    def linear(part: int) -> float:
        share = part / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(part) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
