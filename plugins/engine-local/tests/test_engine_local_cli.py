"""The commands: results on stdout, refusals on stderr, exit codes, and nothing half-done."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import pytest

from blockhost.config_files import ADDRESSBOOK, BLOCKHOST, write_config
from blockhost.engine_local import sealing
from blockhost.engine_local.cli import ab, bhcrypt, bw, generate_signup, is_, local, mint_nft
from blockhost.engine_local.ledger import credentials, open_ledger, plans, subscriptions
from blockhost.engine_local.ledger.plans import Offer
from blockhost.errors import RootAgentConnectionError

PLUGIN = Path(__file__).parents[1]
LAUNCHERS = tomllib.loads((PLUGIN / "debian/build.toml").read_text())["launchers"]
COMMON = PLUGIN.parents[1] / "packages/common"
OWNER = "SHA256:" + "a" * 43
OTHER = "SHA256:" + "b" * 43

COMMANDS = {
    "bw": bw.main,
    "is": is_.main,
    "ab": ab.main,
    "bhcrypt": bhcrypt.main,
    "blockhost-mint-nft": mint_nft.main,
    "blockhost-generate-signup": generate_signup.main,
    "blockhost-local": local.main,
}


@pytest.fixture
def run(capsys):
    """Run a command in this process: (exit code, stdout, stderr)."""

    def call(name, *words):
        code = COMMANDS[name](list(words))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


@pytest.fixture
def stdin(monkeypatch):
    def give(text):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


@pytest.fixture
def admin(book):
    """Credential 0 is the administrator's."""
    with open_ledger() as open_book:
        credentials.mint(open_book, OWNER)
    write_config(BLOCKHOST, {"admin": {"wallet_address": OWNER, "credential_nft_id": 0}})


# --- habits --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_version(run, name):
    code, out, _err = run(name, "--help")
    assert code == 0
    assert f"usage: {name}" in out
    code, out, _err = run(name, "--version")
    assert code == 0
    assert re.fullmatch(rf"{name} \(BlockHost\) \S+\n", out)


@pytest.mark.parametrize("name", COMMANDS)
def test_unknown_option_is_wrong_usage(run, name):
    code, out, err = run(name, "--frobnicate")
    assert (code, out) == (2, "")
    assert "usage" in err


@pytest.mark.parametrize("name", ["bw", "bhcrypt", "blockhost-local", "ab"])
def test_no_command_shows_the_usage(run, name):
    code, out, err = run(name)
    assert (code, out) == (2, "")
    assert "usage" in err


def launched(name, *words):
    """The command in a process of its own, as its launcher starts it."""
    module, function = LAUNCHERS[name].split(":")
    code = f"import sys; sys.argv[0] = {name!r}; from {module} import {function}; sys.exit({function}())"
    return [sys.executable, "-c", code, *words]


@pytest.mark.parametrize("name", COMMANDS)
def test_launcher_starts_the_command(name):
    environment = {**os.environ, "PYTHONPATH": f"{PLUGIN}:{COMMON}"}
    done = subprocess.run(launched(name, "--version"), env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, name)


def test_every_packaged_command_is_tested():
    assert set(LAUNCHERS) == set(COMMANDS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bw", ["who", "admin"]),
        ("bw", ["who", "0"]),
        ("bw", ["plan", "create", "Small", "50"]),
        ("bw", ["set", "encrypt", "0", "0x00"]),
        ("is", [OWNER, "0"]),
        ("blockhost-mint-nft", ["--owner-wallet", OWNER]),
        ("blockhost-local", ["list"]),
        ("blockhost-local", ["plans"]),
        ("blockhost-local", ["show", "1"]),
    ],
)
def test_before_setup_every_command_refuses_and_makes_no_ledger(root, run, name, words):
    code, out, err = run(name, *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"{name}: ")
    assert list((root / "var/lib/blockhost").iterdir()) == []


# --- bw ------------------------------------------------------------------------------------


def test_who_admin_follows_the_credential(admin, run, key):
    assert run("bw", "who", "admin") == (0, f"{OWNER}\n", "")
    from blockhost.engine_local import identity

    with open_ledger() as book:
        credentials.transfer(book, 0, identity.load_public_key(str(key.public)))
    assert run("bw", "who", "admin") == (0, f"{key.fingerprint}\n", "")
    assert run("bw", "who", "0") == (0, f"{key.fingerprint}\n", "")


def test_who_admin_needs_no_environment(admin, root):
    environment = {"PYTHONPATH": f"{PLUGIN}:{COMMON}", "BLOCKHOST_ROOT": str(root)}
    done = subprocess.run(launched("bw", "who", "admin"), env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{OWNER}\n")


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_who_signed_takes_a_signature_as_it_is_printed(run, make_key, kind):
    key = make_key(kind)
    assert run("bw", "who", "hello", key.sign("hello")) == (0, f"{key.fingerprint}\n", "")


def test_who_signed_reads_standard_input(run, stdin, key):
    stdin(key.sign("hello"))
    assert run("bw", "who", "hello", "-") == (0, f"{key.fingerprint}\n", "")


def test_who_signed_refuses_another_message(run, key):
    code, out, err = run("bw", "who", "hullo", key.sign("hello"))
    assert (code, out) == (1, "")
    assert "does not fit" in err


@pytest.mark.parametrize("signature", ["", "x", "0x" + "00" * 65, "-----BEGIN SSH SIGNATURE-----\nx"])
def test_who_signed_refuses_garbage(run, signature):
    code, out, err = run("bw", "who", "hello", signature)
    assert (code, out) == (1, "")
    assert "not an SSH signature" in err


@pytest.mark.parametrize("word", ["root", "-1", "1.0", "99999999999999999999", "٣", ""])
def test_who_refuses_other_words(admin, run, word):
    code, out, err = run("bw", "who", word)
    assert code in {1, 2}
    assert out == ""
    assert err


@pytest.mark.parametrize(
    "admin_section", [None, [], {}, {"credential_nft_id": None}, {"credential_nft_id": True}]
)
def test_who_admin_before_mint_is_explained(book, run, admin_section):
    write_config(BLOCKHOST, {"admin": admin_section})
    code, out, err = run("bw", "who", "admin")
    assert (code, out) == (1, "")
    assert "blockhost.yaml" in err


@pytest.mark.parametrize(
    "words",
    [
        ["send", "1", "eth", "hot", "admin"],
        ["balance", "admin"],
        ["split", "1", "eth", "50,50", "a", "b", "c"],
        ["withdraw", "admin"],
        ["swap", "1", "stable", "eth", "hot"],
        ["config", "stable"],
        ["config", "stable", "0x00"],
    ],
)
def test_coins_are_refused_clearly(run, words):
    code, out, err = run("bw", *words)
    assert (code, out) == (1, "")
    assert "no coins" in err


def test_plan_create_prints_its_number_and_keeps_its_size(book, run):
    words = ["plan", "create", "Large", "500", "--cpu", "4", "--memory", "8192", "--disk", "80"]
    assert run("bw", *words) == (0, "1\n", "")
    with open_ledger() as open_book:
        assert plans.find(open_book, "Large").offer == Offer("Large", 500, 4, 8192, 80)
    code, out, err = run("bw", *words)
    assert (code, out) == (1, "")
    assert "already a plan" in err


@pytest.mark.parametrize(
    "words",
    [
        ["", "50"],
        ["x", "-5"],
        ["x", "5.5"],
        ["x", "free"],
        ["x", "50", "--cpu", "0"],
        ["x", "50", "--memory", "1"],
        ["x", "50", "--disk", "1e9"],
        ["a\nb", "50"],
    ],
)
def test_bad_plan_is_refused_and_not_made(book, run, words):
    code, out, _err = run("bw", "plan", "create", *words)
    assert (code, out) == (2, "")
    with open_ledger() as open_book:
        assert plans.all_plans(open_book) == []


def test_plan_create_renews_the_signup_page(book, run, root):
    page = root / "var/www/blockhost/signup.html"
    assert run("blockhost-generate-signup") == (0, f"{page}\n", "")
    run("bw", "plan", "create", "Medium", "100")
    assert "Medium" in page.read_text()


def test_set_encrypt_keeps_the_text(admin, run):
    assert run("bw", "set", "encrypt", "0", "0xABcd") == (0, "", "")
    with open_ledger() as book:
        assert credentials.get(book, 0).user_encrypted == "0xabcd"


@pytest.mark.parametrize("text", ["0xabc", "zz", "0x" + "0" * 200_000])
def test_set_encrypt_refuses_what_is_not_hex(admin, run, text):
    assert run("bw", "set", "encrypt", "0", text)[0] == 2


# --- is ------------------------------------------------------------------------------------


def test_is_tells_by_exit_code_in_either_order(admin, run):
    assert run("is", OWNER, "0") == (0, "", "")
    assert run("is", "0", OWNER) == (0, "", "")
    assert run("is", OTHER, "0") == (1, "", "")
    assert run("is", OWNER, "5")[0] == 1
    assert run("is", "contract", OWNER)[0] == 1


@pytest.mark.parametrize("words", [["0"], [OWNER], [OWNER, OTHER], ["0", "1"], ["x", "y"], [OWNER, "0", "1"]])
def test_is_refuses_other_words(admin, run, words):
    assert run("is", *words)[0] == 2


# --- ab ------------------------------------------------------------------------------------


@pytest.fixture
def agent(root, monkeypatch):
    """The root agent's side of the addressbook."""
    saved = []

    def save(entries):
        saved.append(entries)
        write_config(ADDRESSBOOK, entries)

    monkeypatch.setattr(ab, "addressbook_save", save)
    return saved


def test_addressbook_life(agent, run):
    assert run("ab", "add", "alice", OWNER) == (0, "", "")
    assert run("ab", "up", "alice", OTHER) == (0, "", "")
    assert OTHER in run("ab", "list")[1]
    assert json.loads(run("ab", "list", "--format", "json")[1]) == {"alice": {"address": OTHER}}
    assert run("ab", "del", "alice") == (0, "", "")
    assert run("ab", "list") == (0, "", "")
    assert len(agent) == 3


def test_addressbook_init_fills_an_empty_book_only(agent, run):
    assert run("ab", "--init", OWNER, OTHER, "/etc/blockhost/server.key") == (0, "", "")
    assert agent == [
        {"admin": {"address": OWNER}, "server": {"address": OTHER, "keyfile": "/etc/blockhost/server.key"}}
    ]
    code, _out, err = run("ab", "--init", OWNER, OTHER, "/etc/blockhost/server.key")
    assert code == 1
    assert "not empty" in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["add", "admin", OWNER], 2),
        (["up", "server", OWNER], 2),
        (["del", "hot"], 2),
        (["new", "dev"], 2),
        (["new", "bob"], 1),
        (["add", "Bob", OWNER], 2),
        (["add", "../x", OWNER], 2),
        (["add", "bob", "0x00"], 2),
        (["up", "bob", OWNER], 1),
        (["del", "bob"], 1),
        (["--init", OWNER], 2),
        (["--init", OWNER, OTHER], 2),
        (["--init", OWNER, "x", "/k"], 2),
        (["--init", OWNER, OTHER, "relative.key"], 2),
        (["--init", *[OWNER] * 5, "/k"], 2),
    ],
)
def test_addressbook_refusals_save_nothing(agent, run, words, code):
    assert run("ab", *words)[0] == code
    assert agent == []


def test_addressbook_of_another_shape_is_named(agent, run):
    write_config(ADDRESSBOOK, {"alice": "SHA256"})
    code, out, err = run("ab", "list")
    assert (code, out) == (1, "")
    assert "$.alice" in err


def test_addressbook_without_agent_is_explained(root, run):
    code, _out, err = run("ab", "add", "alice", OWNER)
    assert code == 1
    assert "root agent" in err
    assert issubclass(RootAgentConnectionError, Exception)


# --- bhcrypt -------------------------------------------------------------------------------


def test_encrypt_and_decrypt_by_argument_file_and_stdin(run, stdin, key, tmp_path):
    signature = tmp_path / "sig"
    signature.write_text(key.sign())
    ciphertext = run("bhcrypt", "encrypt-symmetric", "--signature", key.sign(), "--plaintext", "grüß dich")[1]
    stdin(ciphertext)
    assert run("bhcrypt", "decrypt-symmetric", "--signature-file", str(signature)) == (0, "grüß dich\n", "")
    stdin(key.sign())
    words = ["--signature-file", "-", "--ciphertext", ciphertext.strip()]
    assert run("bhcrypt", "decrypt-symmetric", *words)[1] == "grüß dich\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["decrypt-symmetric"], "only one of"),
        (["encrypt-symmetric", "--signature-file", "/nonexistent", "--plaintext", "x"], "No such file"),
        (["encrypt-symmetric", "--signature", "x", "--plaintext", "x"], "not an SSH signature"),
        (["generate-keypair", "--show-pubkey"], "without a chain"),
        (["derive-pubkey", "--private-key", "ab"], "without a chain"),
        (["key-to-address", "--key", "ab"], "without a chain"),
        (["decrypt", "--private-key-file", "/nonexistent", "--ciphertext", "ab"], "No such file"),
        (["decrypt", "--private-key-file", "-"], "only one of"),
    ],
)
def test_bhcrypt_refusals(run, words, problem):
    code, out, err = run("bhcrypt", *words)
    assert (code, out) == (1, "")
    assert problem in err


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_sealed_text_is_opened_by_its_key_alone(run, stdin, make_key, tmp_path, kind):
    key = make_key(kind)
    sealed = sealing.seal(" ".join(key.public.read_text().split()[:2]), "grüß dich\n".encode())
    opening = ["decrypt", "--private-key-file", str(key.file)]
    expected = (0, "grüß dich\n", "")
    assert run("bhcrypt", *opening, "--ciphertext", f"0x{sealed.hex()}") == expected
    file = tmp_path / "details"
    file.write_text(sealing.armoured(sealed))
    assert run("bhcrypt", *opening, "--ciphertext-file", str(file)) == expected
    stdin(sealing.armoured(sealed))
    assert run("bhcrypt", *opening) == expected
    stdin(key.file.read_text())
    assert run("bhcrypt", "decrypt", "--private-key-file", "-", "--ciphertext-file", str(file)) == expected

    other = ["decrypt", "--private-key-file", str(make_key(kind, "other").file)]
    assert "not encrypted for this key" in run("bhcrypt", *other, "--ciphertext-file", str(file))[2]
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for text, problem in (
        (f"0x{altered.hex()}", "altered"),
        (f"0x{sealed[:80].hex()}", "cut short"),
        ("0xzz", "neither hexadecimal"),
        (sealing.armoured(sealed).replace("END AGE", "END"), "not an age file"),
    ):
        code, out, err = run("bhcrypt", *opening, "--ciphertext", text)
        assert (code, out, problem in err) == (1, "", True), err


def test_key_with_a_passphrase_is_left_to_age(run, tmp_path):
    file = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "passphrase", "-f", file], check=True)
    public = " ".join(file.with_suffix(".pub").read_text().split()[:2])
    text = f"0x{sealing.seal(public, b'x').hex()}"
    code, _out, err = run("bhcrypt", "decrypt", "--private-key-file", str(file), "--ciphertext", text)
    assert (code, "age --decrypt -i" in err) == (1, True)


def test_bhcrypt_refuses_ecdsa_with_the_reason(run, make_key):
    signature = make_key("ecdsa").sign()
    code, out, err = run("bhcrypt", "encrypt-symmetric", "--signature", signature, "--plaintext", "x")
    assert (code, out) == (1, "")
    assert "differently each time" in err


def test_refusal_echoes_neither_signature_nor_plaintext(run, make_key):
    signature = make_key("ecdsa").sign()
    err = run("bhcrypt", "encrypt-symmetric", "--signature", signature, "--plaintext", "canary-text")[2]
    assert "canary-text" not in err
    assert signature.split("\n")[2] not in err


# --- mint ----------------------------------------------------------------------------------


def test_mint_prints_the_number(book, run, key):
    assert run("blockhost-mint-nft", "--owner-wallet", OWNER)[:2] == (0, "0\n")
    words = ["--owner-wallet", key.fingerprint, "--public-key", str(key.public), "--user-encrypted", "0xAA"]
    assert run("blockhost-mint-nft", *words)[:2] == (0, "1\n")
    with open_ledger() as open_book:
        minted = credentials.get(open_book, 1)
    assert minted.user_encrypted == "0xaa"
    assert minted.public_key.startswith("ssh-ed25519 ")


def test_mint_once_and_dry_run(book, run):
    for _ in range(2):
        assert run("blockhost-mint-nft", "--owner-wallet", OWNER, "--once", "sub 1")[1] == "0\n"
    code, out, _err = run("blockhost-mint-nft", "--owner-wallet", OWNER, "--dry-run")
    assert code == 0
    assert "nothing" in out
    assert run("blockhost-mint-nft", "--owner-wallet", OWNER)[1] == "1\n"


def test_mint_refuses_a_key_of_somebody_else(book, run, key):
    code, out, err = run("blockhost-mint-nft", "--owner-wallet", OWNER, "--public-key", str(key.public))
    assert (code, out) == (1, "")
    assert key.fingerprint in err


@pytest.mark.parametrize("owner", ["0x00", "", "SHA256:short", OWNER + "\n", "root"])
def test_mint_refuses_other_owners(book, run, owner):
    assert run("blockhost-mint-nft", "--owner-wallet", owner)[0] == 2


# --- blockhost-local -----------------------------------------------------------------------


@pytest.fixture
def small(book):
    with open_ledger() as open_book:
        plans.create(open_book, Offer("Small", 50))


def test_grant_list_show_extend_revoke(small, run, key):
    assert run("blockhost-local", "grant", str(key.public), "--plan", "Small", "--days", "30")[:2] == (
        0,
        "1\n",
    )
    listed = json.loads(run("blockhost-local", "list", "--format", "json")[1])
    assert [(item["id"], item["state"], item["owner"]) for item in listed] == [(1, "active", key.fingerprint)]
    shown = json.loads(run("blockhost-local", "show", "1", "--format", "json")[1])
    assert shown["expires_at"] - shown["created_at"] == 30 * 86_400
    assert shown["public_key"] == " ".join(key.public.read_text().split()[:2])
    assert run("blockhost-local", "extend", "1", "--days", "5")[0] == 0
    after = json.loads(run("blockhost-local", "show", "1", "--format", "json")[1])
    assert after["expires_at"] == shown["expires_at"] + 5 * 86_400
    assert run("blockhost-local", "revoke", "1") == (0, "", "")
    assert "revoked" in run("blockhost-local", "show", "1")[1]
    assert "revoked" in run("blockhost-local", "list")[1]


def test_grant_reads_standard_input_and_happens_once(small, run, stdin, key):
    for _ in range(2):
        stdin(key.public.read_text())
        words = ["grant", "-", "--plan", "Small", "--days", "30", "--once", "invoice 7"]
        assert run("blockhost-local", *words)[1] == "1\n"
    assert len(run("blockhost-local", "list")[1].splitlines()) == 2


def test_withdrawn_plan_is_not_sold_and_what_was_sold_goes_on(small, run, stdin, key, root):
    page = root / "var/www/blockhost/signup.html"
    run("blockhost-generate-signup")
    granting = ["grant", str(key.public), "--plan", "Small", "--days", "30"]
    assert run("blockhost-local", *granting, "--once", "invoice 7")[1] == "1\n"
    before = run("blockhost-local", "show", "1", "--format", "json")[1]
    assert run("blockhost-local", "withdraw", "Small") == (0, "", "")
    assert "Small" not in page.read_text()
    assert run("blockhost-local", "plans")[1].splitlines()[1].endswith("20 GB  no")
    code, out, err = run("blockhost-local", *granting)
    assert (code, out) == (1, "")
    assert "no longer offered" in err
    assert "blockhost-local offer" in err
    assert run("blockhost-local", *granting, "--once", "invoice 7")[:2] == (0, "1\n")
    assert run("blockhost-local", "show", "1", "--format", "json")[1] == before
    with open_ledger() as open_book:
        assert subscriptions.plan_of(open_book, 1) == Offer("Small", 50)
    assert run("blockhost-local", "extend", "1", "--days", "5")[0] == 0

    assert run("blockhost-local", "withdraw", "Small") == (0, "", "")  # safe to repeat
    assert run("blockhost-local", "offer", "Small") == (0, "", "")
    assert "Small" in page.read_text()
    assert run("blockhost-local", *granting)[1] == "2\n"


def test_plan_that_is_not_there_cannot_be_withdrawn(small, run):
    code, out, err = run("blockhost-local", "withdraw", "Large")
    assert (code, out) == (1, "")
    assert "Plans: Small" in err


def test_plans_are_listed(small, run):
    assert "Small  $0.50 a day  1    2 GB    20 GB" in run("blockhost-local", "plans")[1]
    listed = json.loads(run("blockhost-local", "plans", "--format", "json")[1])
    assert listed == [
        {
            "id": 1,
            "name": "Small",
            "price_cents": 50,
            "cpu": 1,
            "memory_mb": 2048,
            "disk_gb": 20,
            "active": True,
        }
    ]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["grant", "{key}", "--plan", "Smalll", "--days", "3"], 1, "Plans: Small"),
        (["grant", "{key}", "--plan", "Small", "--days", "0"], 2, "1 to 3660"),
        (["grant", "{key}", "--plan", "Small", "--days", "99999"], 2, "1 to 3660"),
        (["grant", "{key}", "--plan", "Small"], 2, "--days"),
        (["grant", "/nonexistent", "--plan", "Small", "--days", "3"], 1, "No such file"),
        (["grant", "/dev/zero", "--plan", "Small", "--days", "3"], 1, "larger than"),
        (["show", "9"], 1, "no subscription 9"),
        (["show", "x"], 2, "expected a number"),
        (["revoke", "9"], 1, "no subscription 9"),
        (["extend", "9", "--days", "1"], 1, "no subscription 9"),
    ],
)
def test_local_refusals_grant_nothing(small, run, key, words, code, problem):
    found, out, err = run("blockhost-local", *[word.format(key=key.public) for word in words])
    assert (found, out) == (code, "")
    assert problem in err
    assert run("blockhost-local", "list") == (0, "", "")


def test_private_key_is_refused(small, run, key):
    code, _out, err = run("blockhost-local", "grant", str(key.file), "--plan", "Small", "--days", "3")
    assert code == 1
    assert "private key" in err
    assert "BEGIN" not in err


# --- the signup page -----------------------------------------------------------------------


class _Page(HTMLParser):
    """What a strict content security policy and a screen reader care about."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.headings = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))


def test_signup_page_is_self_contained(admin, run):
    with open_ledger() as book:
        plans.create(book, Offer("Small", 50))
    out = run("blockhost-generate-signup", "--output", "-")[1]
    page = _Page()
    page.feed(out)
    assert not {"script", "img", "link", "iframe", "form", "input"} & set(page.tags)
    assert not [name for name, _value in page.attributes if name.startswith("on") or name == "style"]
    assert "url(" not in out
    assert "http://" not in out
    assert "https://" not in out
    assert ("lang", "en") in page.attributes
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in steps)
    assert OWNER in out


def test_signup_policy_names_the_style_it_carries(book, run):
    import base64
    import hashlib

    out = run("blockhost-generate-signup", "--output", "-")[1]
    style = re.search(r"<style>(.*?)</style>", out, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"sha256-{digest}" in out


def test_signup_page_before_setup_says_there_is_nothing(root, run):
    code, out, _err = run("blockhost-generate-signup", "--output", "-")
    assert code == 0
    assert "nothing on offer yet" in out


def test_signup_takes_other_files(root, run, tmp_path):
    config, template = tmp_path / "b.yaml", tmp_path / "page.html"
    config.write_text("local: {contact: <me>}")
    template.write_text("Write to {{ host.contact }}")
    output = tmp_path / "out.html"
    words = ["--config", str(config), "--template", str(template), "--output", str(output)]
    assert run("blockhost-generate-signup", *words, "--web3-config", "/none") == (0, f"{output}\n", "")
    assert output.read_text() == "Write to &lt;me&gt;"


@pytest.mark.parametrize(
    "words",
    [
        ["--template", "/nonexistent"],
        ["--config", "{broken}"],
        ["--template", "{broken}"],
        ["--output", "/nonexistent/dir/x.html"],
    ],
)
def test_signup_refusals(root, run, tmp_path, words):
    broken = tmp_path / "broken.yaml"
    broken.write_text("{% if %} [")
    code, out, err = run("blockhost-generate-signup", *[word.format(broken=broken) for word in words])
    assert (code, out) == (1, "")
    assert err.startswith("blockhost-generate-signup: ")


def test_signup_preview_is_served_on_loopback(root):
    environment = {**os.environ, "PYTHONPATH": f"{PLUGIN}:{COMMON}"}
    argv = launched("blockhost-generate-signup", "--serve", "0")
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as process:
        url = process.stderr.readline().strip()
        try:
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(url, timeout=10) as reply:
                assert b"<h1>" in reply.read()
        finally:
            process.terminate()
