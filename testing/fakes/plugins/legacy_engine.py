"""An engine as the first generation wrote them: bare tuples, redirects by endpoint name, a secret.

For tests only. It must load unchanged: do not modernise it.
"""

from flask import Blueprint, redirect, render_template, request, session, url_for

blueprint = Blueprint("engine_legacychain", __name__, template_folder="templates")


@blueprint.route("/wizard/legacychain", methods=["GET", "POST"])
def page():
    if request.method == "POST":
        if not request.form.get("rpc_url"):
            return render_template("legacy/page.html", error="An RPC URL is needed"), 422
        session["blockchain"] = {
            "rpc_url": request.form["rpc_url"],
            "deployer_key": request.form.get("deployer_key", ""),
        }
        return redirect(url_for("wizard_ipv6"))
    return render_template("legacy/page.html", error=None)


@blueprint.route("/api/blockchain/boom", methods=["GET", "POST"])
def boom():
    raise ValueError("a bug of the plugin, with a secret: hunter2")


def _deploy(config):
    config["blockchain"]["nft_contract"] = "0xabc"
    config["_step_result_contracts"] = {"nft_contract": "0xabc"}
    return True, None


def _fail(config):
    return False, "the chain is down"


def get_finalization_steps():
    return [("contracts", "Deploy contracts", _deploy, "May take a minute")]


def get_post_finalization_steps():
    return [("mint_nft", "Mint the NFT", _fail)]


def get_summary_data(session):
    return {"rpc_url": session["blockchain"]["rpc_url"]}


def get_summary_template():
    return "legacy/summary.html"


def get_ui_params(session):
    return {"wallet_label": "Chain wallet"}


def recover_signer(message, signature):
    return "0x" + signature[-40:]
