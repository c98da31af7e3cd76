"""What a signature encrypts, the same signature opens, and nothing else does."""

from __future__ import annotations

import pytest

from blockhost.engine_local import encryption, sshsig
from blockhost.engine_local.encryption import DecryptionFailed
from blockhost.engine_local.sshsig import SignatureRefused


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_signing_again_opens_it(make_key, kind):
    key = make_key(kind)
    ciphertext = encryption.encrypt(key.sign(), b"secret")
    assert encryption.decrypt(key.sign(), ciphertext) == b"secret"


def test_wrapping_of_the_signature_does_not_matter(key):
    ciphertext = encryption.encrypt(key.sign(), b"secret")
    assert encryption.decrypt(sshsig.parse(key.sign()).one_line(), ciphertext) == b"secret"


def test_layout_is_iv_ciphertext_tag(key):
    ciphertext = encryption.encrypt(key.sign(), b"12345")
    assert ciphertext.startswith("0x")
    assert len(bytes.fromhex(ciphertext[2:])) == 12 + 5 + 16


def test_layout_opens_with_aes_gcm_of_the_library(key):
    """The format is the contract's, not ours: read it with the primitives alone."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data = bytes.fromhex(encryption.encrypt(key.sign(), b"plain")[2:])
    assert AESGCM(encryption.derive_key(key.sign())).decrypt(data[:12], data[12:], None) == b"plain"


def test_same_text_never_encrypts_the_same(key):
    assert len({encryption.encrypt(key.sign(), b"x") for _ in range(20)}) == 20


def test_another_message_or_key_does_not_open_it(make_key):
    ciphertext = encryption.encrypt(make_key().sign(), b"secret")
    for signature in (make_key().sign("other"), make_key(name="other").sign(), make_key("rsa").sign()):
        with pytest.raises(DecryptionFailed):
            encryption.decrypt(signature, ciphertext)


def test_ecdsa_is_refused_with_the_reason(make_key):
    with pytest.raises(SignatureRefused, match="differently each time"):
        encryption.encrypt(make_key("ecdsa").sign(), b"x")


def test_every_altered_byte_is_found(key):
    data = bytes.fromhex(encryption.encrypt(key.sign(), b"abc")[2:])
    for index in range(len(data)):
        altered = bytearray(data)
        altered[index] ^= 1
        with pytest.raises(DecryptionFailed):
            encryption.decrypt(key.sign(), "0x" + altered.hex())


@pytest.mark.parametrize("ciphertext", ["", "0x", "0xzz", "0x" + "00" * 27, "plain", "0x0"])
def test_what_is_no_ciphertext_is_refused(key, ciphertext):
    with pytest.raises(DecryptionFailed):
        encryption.decrypt(key.sign(), ciphertext)


@pytest.mark.parametrize("config", [{"a": [1, {"b": "ü"}]}, {}])
def test_configuration_comes_back_whole(key, config):
    sealed = encryption.encrypt_config(key.sign(), config)
    assert encryption.decrypt_config(key.sign(), sealed) == config


def test_configuration_must_be_an_object(key):
    with pytest.raises(DecryptionFailed, match="not a configuration"):
        encryption.decrypt_config(key.sign(), encryption.encrypt(key.sign(), b"[1]"))
