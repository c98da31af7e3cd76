"""Texts for one SSH key: our format is age's, which age's own program proves where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from blockhost.engine_local import sealing

needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")


def public(key):
    return " ".join(key.public.read_text().split()[:2])


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("size", [0, 1, 200, 65536])
def test_owner_reads_it(make_key, kind, size):
    key, text = make_key(kind), os.urandom(size)
    sealed = sealing.seal(public(key), text)
    assert text not in sealed or size < 2
    assert sealing.open_sealed(key.file.read_bytes(), sealing.from_armour(sealing.armoured(sealed))) == text


@needs_age
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("size", [0, 200, 65536])
def test_age_reads_ours_and_we_read_its(make_key, kind, size):
    key, text = make_key(kind), os.urandom(size)
    armour = sealing.armoured(sealing.seal(public(key), text)).encode()
    done = subprocess.run(["age", "--decrypt", "-i", key.file], input=armour, capture_output=True)
    assert (done.returncode, done.stdout) == (0, text), done.stderr
    if size < 65536:
        theirs = subprocess.run(["age", "-R", key.public], input=text, capture_output=True, check=True).stdout
        assert sealing.open_sealed(key.file.read_bytes(), theirs) == text


@needs_age
def test_age_reads_a_body_that_fills_its_lines(make_key, tmp_path):
    """3072 bits are 384 bytes, 8 lines of 64 exactly: an empty line must follow."""
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", file], check=True)
    line = " ".join(file.with_suffix(".pub").read_text().split()[:2])
    sealed = sealing.seal(line, b"hello")
    done = subprocess.run(["age", "--decrypt", "-i", file], input=sealed, capture_output=True)
    assert done.stdout == b"hello", done.stderr
    assert sealing.open_sealed(file.read_bytes(), sealed) == b"hello"


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_nobody_else_reads_it(make_key, kind):
    sealed = sealing.seal(public(make_key(kind)), b"secret")
    for other in (make_key(kind, "other"), make_key("ecdsa")):
        with pytest.raises(sealing.CannotOpen, match="not encrypted for this key"):
            sealing.open_sealed(other.file.read_bytes(), sealed)
    assert sealing.is_for(public(make_key(kind)), sealed)
    assert not sealing.is_for(public(make_key(kind, "other")), sealed)
    assert not sealing.is_for(public(make_key(kind)), b"")


def test_every_altered_byte_is_noticed(key):
    sealed = sealing.seal(public(key), b"secret")
    private = key.file.read_bytes()
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(sealing.CannotOpen):
            sealing.open_sealed(private, bytes(altered))
    for length in range(0, len(sealed), 7):
        with pytest.raises(sealing.CannotOpen):
            sealing.open_sealed(private, sealed[:length])


def test_same_text_never_looks_the_same(key):
    assert len({sealing.seal(public(key), b"x") for _ in range(5)}) == 5


def test_key_that_only_signs_is_refused_with_a_hint(make_key):
    line = public(make_key("ecdsa"))
    assert not sealing.is_sealable(line)
    with pytest.raises(sealing.CannotSeal, match="ecdsa-sha2-nistp256") as refusal:
        sealing.seal(line, b"x")
    assert "Ed25519" in refusal.value.hint


def test_too_long_and_no_armour_are_refused(key):
    with pytest.raises(sealing.CannotSeal, match="longer than 65536"):
        sealing.seal(public(key), bytes(65537))
    for text in ("", "hello", f"{sealing.BEGIN}\n!!\n{sealing.END}\n"):
        with pytest.raises(sealing.CannotOpen):
            sealing.from_armour(text)
    with pytest.raises(sealing.CannotOpen, match="not an OpenSSH private key"):
        sealing.open_sealed(b"hello", sealing.seal(public(key), b"x"))
