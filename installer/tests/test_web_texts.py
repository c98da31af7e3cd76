"""Translations: with a catalog the page speaks the browser's language, without one English."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture
def german(tmp_path):
    """A catalog with two texts, where a package would put it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Debian 12's Babel imports `cgi`
        from babel.messages.catalog import Catalog
        from babel.messages.mofile import write_mo

    catalog = Catalog(locale="de", domain="blockhost")
    catalog.add("Welcome", "Willkommen")
    catalog.add(
        ("You can try again in %(num)d second.", "You can try again in %(num)d seconds."),
        ("in einer", "%(num)d"),
    )
    folder = tmp_path / "usr/share/locale/de/LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "blockhost.mo").open("wb") as file:
        write_mo(file, catalog)


def test_page_speaks_the_browsers_language(german, make_site) -> None:
    site = make_site()
    text = site.get("/login", headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"}).text
    assert "<h1>Willkommen</h1>" in text
    assert '<html lang="de">' in text
    assert "One-time code" in text, "what is not translated stays English"


@pytest.mark.parametrize("header", ["en", "fr", "*", "", "de;q=0, en"])
def test_other_languages_get_english(german, make_site, header: str) -> None:
    text = make_site().get("/login", headers={"Accept-Language": header}).text
    assert "<h1>Welcome</h1>" in text
    assert '<html lang="en">' in text


def test_without_catalogs_flask_babel_is_not_loaded(site) -> None:
    assert "babel" not in site.app.extensions
    assert '<html lang="en">' in site.get("/login", headers={"Accept-Language": "de"}).text
