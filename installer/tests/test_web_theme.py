"""Colours from manifests: readable on both schemes, and never anything but a colour."""

from __future__ import annotations

import pytest

from installer.web import theme


@pytest.mark.parametrize(
    ("text", "rgb"),
    [
        ("#fff", (255, 255, 255)),
        ("#A1b2C3", (161, 178, 195)),
        ("#a1b2c3d4", (161, 178, 195)),
        ("teal", (0, 128, 128)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("rgba(1 2 300 / 50%)", (1, 2, 255)),
        ("hsl(10 20% 30%)", None),
        ("} body { display: none", None),
        ("", None),
        (None, None),
    ],
)
def test_parse(text, rgb) -> None:
    assert theme.parse_colour(text) == rgb


@pytest.mark.parametrize("colour", [(255, 255, 0), (0, 0, 0), (255, 255, 255), (128, 128, 128), (0, 0, 255)])
@pytest.mark.parametrize("ground", [theme.LIGHT_CARD, theme.DARK_CARD, theme.LIGHT_GROUND, theme.DARK_GROUND])
def test_every_accent_is_made_readable(colour, ground) -> None:
    assert theme.contrast(theme.readable(colour, ground), ground) >= 4.5


def test_stylesheet_is_served_without_session(site) -> None:
    answer = site.get("/static/theme.css")
    assert answer.mimetype == "text/css"
    assert "--primary: #aa5500" in answer.text or "--primary: #" in answer.text
    assert "--bg: #" in answer.text


def test_no_colours_is_an_empty_scheme() -> None:
    assert ":root" not in theme.render(primary=None, tint=None)
