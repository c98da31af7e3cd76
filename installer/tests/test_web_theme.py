"""Colours from manifests: readable on both schemes, and never anything but a colour."""

from __future__ import annotations

import re
from pathlib import Path

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
@pytest.mark.parametrize("grounds", [theme.LIGHT_GROUNDS, theme.DARK_GROUNDS])
def test_every_accent_is_made_readable(colour, grounds) -> None:
    shade = theme.readable(colour, *grounds)
    assert min(theme.contrast(shade, ground) for ground in grounds) >= 4.5


def test_grounds_are_those_of_the_stylesheet() -> None:
    css = (Path(theme.__file__).parent / "static/wizard.css").read_text()
    light, dark = css.split("prefers-color-scheme: dark", 1)
    for text, grounds in ((light, theme.LIGHT_GROUNDS), (dark, theme.DARK_GROUNDS)):
        found = [
            re.search(rf"--{name}: (#[0-9a-f]+)", text)[1] for name in ("bg", "bg-card", "bg-soft", "bg-info")
        ]
        assert [theme.parse_colour(colour) for colour in found] == list(grounds)


def test_stylesheet_is_served_without_session(site) -> None:
    answer = site.get("/static/theme.css")
    assert answer.mimetype == "text/css"
    assert "--primary: #aa5500" in answer.text or "--primary: #" in answer.text
    assert "--bg: #" in answer.text


def test_no_colours_is_an_empty_scheme() -> None:
    assert ":root" not in theme.render(primary=None, tint=None)


@pytest.mark.parametrize("colour", [(43, 108, 176), (255, 255, 0), (0, 0, 0), (250, 250, 250)])
def test_links_of_both_schemes_are_readable(colour) -> None:
    light, dark = theme.render(primary=colour, tint=(59, 110, 165)).split("@media", 1)
    for text, grounds in ((light, theme.LIGHT_GROUNDS), (dark, theme.DARK_GROUNDS)):
        link = theme.parse_colour(re.search(r"--link: (#[0-9a-f]+)", text)[1])
        tinted = theme.parse_colour(re.search(r"--bg: (#[0-9a-f]+)", text)[1])
        assert min(theme.contrast(link, ground) for ground in (tinted, *grounds[1:])) >= 4.5
