"""The static page that visitors of this host see."""
