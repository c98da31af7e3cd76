"""Who signed this? Real ssh-keygen, real keys."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest

from blockhost.engine_local import identity, sshsig
from blockhost.engine_local.sshsig import SignatureRefused
from blockhost.errors import BlockhostError

MESSAGE = "blockhost-access"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_signer_is_what_ssh_keygen_calls_the_key(make_key, kind):
    key = make_key(kind)
    assert identity.signer_of(MESSAGE, key.sign()) == key.fingerprint


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_signature_carries_the_public_key(make_key, kind):
    key = make_key(kind)
    expected = " ".join(key.public.read_text().split()[:2])
    assert identity.signer_key(MESSAGE, key.sign()).line == expected


def _bare(text):
    return "".join(text.split("\n")[1:-2])


SPELLINGS = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "lone carriage returns": lambda text: text.replace("\n", "\r"),
    "blanks for line ends": lambda text: text.replace("\n", " "),
    "blank lines around": lambda text: f"\n\n  {text}\n\n",
    "indented": lambda text: text.replace("\n", "\n    "),
    "one line of base64": _bare,
    "base64 with line ends": lambda text: "\n".join(text.split("\n")[1:-2]),
    "no line end at all": lambda text: text.replace("\n", ""),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_any_wrapping_is_the_same_signature(key, spelling):
    assert identity.signer_of(MESSAGE, spelling(key.sign())) == key.fingerprint


@pytest.mark.parametrize("message", ["", "Grüße 🔑", "two\nlines", "-n other", "a" * 5000, "tab\there"])
def test_any_message_can_be_signed(key, message):
    assert identity.signer_of(message, key.sign(message)) == key.fingerprint


@pytest.mark.parametrize("message", ["blockhost-acces", "Blockhost-access", "blockhost-access ", "", "x"])
def test_another_message_is_refused(key, message):
    with pytest.raises(SignatureRefused, match="does not fit"):
        identity.signer_of(message, key.sign())


def test_signed_line_end_is_explained(key):
    with pytest.raises(SignatureRefused) as refusal:
        identity.signer_of(MESSAGE, key.sign(MESSAGE + "\n"))
    assert "printf" in refusal.value.hint


@pytest.mark.parametrize("namespace", ["file", "git", "blockhost2", "Blockhost"])
def test_another_namespace_is_refused(key, namespace):
    with pytest.raises(SignatureRefused, match="made for"):
        identity.signer_of(MESSAGE, key.sign(namespace=namespace))


def test_forged_namespace_is_refused(key):
    """The name in the blob is what we read first; changing it must not help."""
    blob = sshsig.parse(key.sign(namespace="blockhosx")).blob.replace(b"blockhosx", b"blockhost")
    with pytest.raises(SignatureRefused, match="does not fit"):
        identity.signer_of(MESSAGE, base64.b64encode(blob).decode())


def test_exchanged_public_key_is_refused(make_key):
    mine, other = make_key(), make_key(name="other")
    theirs = sshsig.parse(other.sign())
    forged = theirs.blob.replace(theirs.key_blob, sshsig.parse(mine.sign()).key_blob)
    with pytest.raises(SignatureRefused, match="does not fit"):
        identity.signer_of(MESSAGE, base64.b64encode(forged).decode())


def test_every_truncation_is_refused(key):
    blob = sshsig.parse(key.sign()).blob
    for size in range(len(blob)):
        with pytest.raises(SignatureRefused):
            sshsig.parse(base64.b64encode(blob[:size]).decode() or "-")


@pytest.mark.parametrize("position", range(0, 200, 9))
def test_flipped_byte_is_refused(key, position):
    blob = bytearray(sshsig.parse(key.sign()).blob)
    if position >= len(blob):
        position -= len(blob)
    blob[position] ^= 0x01
    with pytest.raises(SignatureRefused):
        identity.signer_of(MESSAGE, base64.b64encode(bytes(blob)).decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no",
        "0x" + "ab" * 65,
        "U1NIU0lH",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----",
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nU1NIU0lH\n-----END OPENSSH PRIVATE KEY-----",
        "U1NIU0lH" + "A" * 40_000,
        "U1NIU0lH" + "_" * 100,
        base64.b64encode(b"SSHSIG" + b"\0\0\0\1" + b"\xff\xff\xff\xff").decode(),
        base64.b64encode(b"SSHSIG" + b"\0\0\0\2" + b"\0" * 60).decode(),
        "U1NIU0lH\0" + "A" * 60,
    ],
)
def test_what_is_no_signature_is_refused_with_advice(text):
    with pytest.raises(SignatureRefused, match="not an SSH signature") as refusal:
        identity.signer_of(MESSAGE, text)
    assert "ssh-keygen -Y sign" in refusal.value.hint
    assert not identity.is_signature(text)


def test_certificate_cannot_own_anything(key, make_key, tmp_path):
    """A certificate's fingerprint is its key's; its authority could be withdrawn behind our back."""
    authority = make_key(name="authority")
    for file in (key.file, key.public):
        shutil.copy(file, tmp_path / file.name)
    public = tmp_path / key.public.name
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority.file, "-I", "id", "-n", "root", public], check=True, cwd=tmp_path
    )
    certificate = next(tmp_path.glob("*-cert.pub"))
    with pytest.raises(BlockhostError, match="not a usable public key"):
        identity.load_public_key(str(certificate))


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "x\x1b[31m"])
def test_keys_that_sign_differently_are_refused_with_the_reason(kind):
    with pytest.raises(SignatureRefused, match="differently each time") as refusal:
        identity.require_deterministic(kind)
    assert "backup" in refusal.value.hint
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SHA256:",
        "SHA256:" + "a" * 42,
        "SHA256:" + "a" * 44,
        "SHA256:" + "a" * 43 + "\n",
        "0x00",
        "MD5:aa",
    ],
)
def test_address_needs_the_whole_notation(text):
    assert not identity.is_address(text)


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_public_key_file_is_read(make_key, kind):
    key = make_key(kind)
    assert identity.load_public_key(str(key.public)).fingerprint == key.fingerprint


def test_private_key_is_never_taken_for_a_public_one(key):
    with pytest.raises(BlockhostError, match="private key"):
        identity.load_public_key(str(key.file))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "found 0 lines"),
        ("ssh-ed25519", "expected “ssh-ed25519"),
        ("ssh-dss AAAA", "expected “ssh-ed25519"),
        ("ssh-ed25519 AAAA", "ssh-keygen does not accept"),
        ("ssh-ed25519 A?A?", "base64"),
        ('command="sh" ssh-ed25519 AAAA', "expected “ssh-ed25519"),
    ],
)
def test_bad_key_file_is_explained(text, problem):
    with pytest.raises(BlockhostError, match=problem):
        identity.read_public_key(text, source="key.pub")


def test_two_keys_in_one_file_are_refused(make_key):
    both = make_key().public.read_text() + make_key(name="other").public.read_text()
    with pytest.raises(BlockhostError, match="found 2 lines"):
        identity.read_public_key(both, source="keys")


def test_no_signature_is_left_behind(key, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    identity.signer_of(MESSAGE, key.sign())
    assert list(tmp_path.iterdir()) == []
