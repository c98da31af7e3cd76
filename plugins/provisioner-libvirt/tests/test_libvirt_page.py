"""The page /wizard/libvirt, on a bare Flask app in place of the installer."""

from __future__ import annotations

from collections.abc import Iterator

import jinja2
import pytest
from flask import Flask, session
from flask.testing import FlaskClient

from blockhost.provisioner_libvirt.wizard import blueprint, get_summary_data, get_summary_template

FORM = {
    "ip_network": "192.0.2.0/24",
    "ip_start": "192.0.2.100",
    "ip_end": "192.0.2.120",
    "gateway": "192.0.2.1",
}


@pytest.fixture
def client(host: object) -> Iterator[FlaskClient]:
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
    app.context_processor(lambda: {"wizard_next": lambda step: f"/after/{step}"})

    @app.get("/session")
    def _session() -> dict[str, object]:
        return {"answers": session.get("libvirt"), "summary": get_summary_data(session)}

    with app.test_client() as opened:
        yield opened


def test_page_proposes_the_hosts_own_network(client: FlaskClient) -> None:
    reply = client.get("/wizard/libvirt")
    assert reply.status_code == 200
    for value in ("192.0.2.0/24", "192.0.2.1", "192.0.2.204", "192.0.2.253"):
        assert f'value="{value}"' in reply.text


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
