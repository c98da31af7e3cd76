"""The page /wizard/libvirt, on a bare Flask app in place of the installer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jinja2
import pytest
from flask import Flask, session
from flask.testing import FlaskClient

from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.wizard import (
    blueprint,
    get_setup_actions,
    get_summary_data,
    get_summary_template,
)
from blockhost.provisioner_libvirt.wizard.proposal import propose

Host = Any
FORM = {
    "ip_network": "192.0.2.0/24",
    "ip_start": "192.0.2.100",
    "ip_end": "192.0.2.120",
    "gateway": "192.0.2.1",
}


@pytest.fixture
def client(host: Host) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    app.secret_key = "test"
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    stubs = {
        "base.html": "<title>{% block title %}{% endblock %}</title>{% block content %}{% endblock %}",
        "macros/wizard_steps.html": "{% macro step_bar(step) %}{% endmacro %}",
    }
    app.jinja_loader = jinja2.DictLoader(stubs)  # type: ignore[assignment]
    app.register_blueprint(blueprint)
    app.extensions["wizard_action"] = lambda name, params: get_setup_actions()[name](
        StepContext(step_id="action", config={}), params
    )
    app.context_processor(lambda: {"wizard_next": lambda step: f"/after/{step}"})

    @app.get("/session")
    def _session() -> dict[str, object]:
        return {"answers": session.get("libvirt"), "summary": get_summary_data(session)}

    with app.test_client() as opened:
        yield opened


def test_page_proposes_the_hosts_own_network(client: FlaskClient) -> None:
    reply = client.get("/wizard/libvirt")
    assert reply.status_code == 200
    # 192.0.2.230 answers, so the range lies below it; the very last address stays free.
    for value in ("192.0.2.0/24", "192.0.2.1", "192.0.2.180", "192.0.2.229"):
        assert f'value="{value}"' in reply.text
    assert "192.0.2.105, 192.0.2.1, 192.0.2.230" in reply.text
    assert "br0 (192.0.2.105/24)" in reply.text


def test_wizard_itself_runs_no_program(client: FlaskClient, host: Host) -> None:
    """Its sandbox has no network: what it knows, the worker told it."""
    client.application.extensions["wizard_action"] = lambda name, params: {}
    (host.root.parent / "programs/ip").write_text("#!/bin/sh\nkill $PPID\n")
    assert client.get("/wizard/libvirt").status_code == 200


def test_range_with_a_neighbour_in_it_is_refused(client: FlaskClient) -> None:
    client.get("/wizard/libvirt")
    wrong = {**FORM, "ip_end": "192.0.2.240"}
    reply = client.post("/wizard/libvirt", data=wrong)
    assert reply.status_code == 422
    assert "somebody else answers at 192.0.2.230" in reply.text
    assert client.get("/wizard/libvirt/check", query_string=wrong).json == {
        "field": "ip_start",
        "message": "somebody else answers at 192.0.2.230; choose a range without",
    }
    assert client.get("/wizard/libvirt/check", query_string=FORM).json == {}


@pytest.mark.parametrize(
    ("network", "used", "expected"),
    [
        ("10.0.0.0/24", [], ("10.0.0.204", "10.0.0.253")),
        ("10.0.0.0/24", [f"10.0.0.{n}" for n in range(100, 254)], ("10.0.0.50", "10.0.0.99")),
        ("10.0.0.0/28", ["10.0.0.7"], ("10.0.0.8", "10.0.0.13")),
        ("10.0.0.0/29", [f"10.0.0.{n}" for n in range(2, 7)], None),
        ("10.0.0.0/16", [], ("10.0.255.204", "10.0.255.253")),
    ],
)
def test_proposal_is_a_free_run(network: str, used: list[str], expected: tuple[str, str] | None) -> None:
    found = {"network": network, "gateway": "10.0.0.1", "in_use": used, "own": ["10.0.0.2"], "pools": []}
    fields = propose(found)
    got = (fields["ip_start"], fields["ip_end"]) if "ip_start" in fields else None
    assert got == expected


def test_pool_that_exists_is_proposed() -> None:
    fields = propose({"pools": [{"name": "default", "path": "/x"}, {"name": "fast", "path": "/srv/vms"}]})
    assert (fields["storage_pool"], fields["storage_path"]) == ("fast", "/srv/vms")


def test_script_is_served(client: FlaskClient) -> None:
    with client.get("/wizard/libvirt/static/range.js") as reply:
        assert reply.status_code == 200


@pytest.mark.parametrize("path", ["/wizard/libvirt", "/wizard/libvirt/"])
def test_answers_go_to_the_session(client: FlaskClient, path: str) -> None:
    reply = client.post(path, data=FORM)
    assert (reply.status_code, reply.location) == (303, "/after/libvirt")
    kept = client.get("/session").json
    assert kept is not None
    assert kept["answers"]["gc_grace_days"] == 7
    assert kept["summary"] == kept["answers"]


def test_bad_range_is_explained_and_the_form_stays(client: FlaskClient) -> None:
    reply = client.post("/wizard/libvirt", data={**FORM, "gateway": "192.0.2.110", "storage_pool": "mine"})
    assert reply.status_code == 422
    assert "192.0.2.110 is inside the range 192.0.2.100 to 192.0.2.120" in reply.text
    assert 'value="mine"' in reply.text
    assert 'aria-invalid="true"' in reply.text


def test_markup_in_an_answer_stays_text(client: FlaskClient) -> None:
    reply = client.post("/wizard/libvirt", data={**FORM, "ip_start": '"><script>alert(1)</script>'})
    assert reply.status_code == 422
    assert "<script>" not in reply.text


def test_summary_renders(client: FlaskClient) -> None:
    from flask import render_template

    with client.application.test_request_context():
        text = render_template(get_summary_template(), provisioner_summary={**FORM, "storage_pool": "p"})
    assert "192.0.2.100" in text
