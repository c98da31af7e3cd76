"""The operator at the panel of a container: a login as the panel's README describes it, and what follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from testing.integration.nspawn import Appliance

#: With the library's own means: there is no curl on the appliance.
SCRIPT = r"""
import http.cookiejar, json, ssl, subprocess, sys, urllib.request
address, prefix, questions = sys.argv[1:4]
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
    urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
)
def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    with opener.open(urllib.request.Request(f"https://{address}{prefix}{path}", data, headers)) as reply:
        return json.load(reply)
asked = ask("/login")
signature = subprocess.run(
    ["ssh-keygen", "-q", "-Y", "sign", "-n", "blockhost", "-f", "/root/owner-key", "-"],
    input=asked["message"].encode(), stdout=subprocess.PIPE, check=True,
).stdout.decode()
ask("/api/auth/verify", {"code": asked["code"], "signature": signature})
for path, body in json.loads(questions):
    print(json.dumps(ask(path, body)))
"""

#: A path below the panel's prefix, and what is posted to it; None asks only.
Question = tuple[str, dict[str, str] | None]


def ask_panel(
    machine: Appliance, *questions: Question, address: str = "127.0.0.1", prefix: str = "/admin"
) -> Sequence[Any]:
    """Log in with the owner's key and ask, in this order; the answers. A refusal fails the test."""
    machine.write_file("/root/ask-panel.py", SCRIPT, 0o600)
    words = ["python3", "/root/ask-panel.py", address, prefix, json.dumps(questions)]
    return [json.loads(line) for line in machine.run(words, timeout=60).splitlines()]
