"""Discovery never raises because of a plugin, and names everything that is wrong."""

from __future__ import annotations

from installer.discovery import discover
from testing.fakes.plugins import manifests


def test_sound_plugins_are_found(install_plugins) -> None:
    install_plugins(
        manifests.engine("legacychain", "legacy_engine"), manifests.provisioner("plain", "plain_provisioner")
    )
    plugins = discover()
    assert plugins.problems == ()
    assert plugins.engine.name == "legacychain"
    assert plugins.provisioner.module.get_finalization_steps() == []


def test_nothing_installed_is_two_problems(install_plugins) -> None:
    install_plugins(None, None)
    plugins = discover()
    assert {problem.kind for problem in plugins.problems} == {"engine", "provisioner"}
    assert plugins.engine is None
    assert all(problem.hint for problem in plugins.problems)


def test_everything_that_lacks_is_named_at_once(install_plugins) -> None:
    install_plugins(manifests.engine("lacking", "lacking_engine"), None)
    problem = discover().problem_of("engine")
    assert problem.name == "lacking"
    assert len(problem.faults) == 4


def test_plugin_that_exits_on_import_does_not_end_us(install_plugins) -> None:
    install_plugins(manifests.engine("exiting", "exiting_engine"), None)
    assert "SystemExit" in discover().problem_of("engine").message


def test_wrong_blueprint_name_is_a_problem(install_plugins) -> None:
    install_plugins(manifests.engine("other", "legacy_engine"), None)
    assert "blueprint is called 'engine_legacychain'" in discover().problem_of("engine").message


def test_shared_session_key_is_a_problem(install_plugins) -> None:
    keys = {"config_keys": {"session_key": "blockchain", "provisioner_config": []}}
    install_plugins(
        manifests.engine("legacychain", "legacy_engine"),
        manifests.provisioner("plain", "plain_provisioner", **keys),
    )
    plugins = discover()
    assert plugins.provisioner is None
    assert "'blockchain'" in plugins.problem_of("provisioner").message
    assert plugins.engine is not None


def test_manifest_of_a_broken_plugin_stays_readable(install_plugins) -> None:
    install_plugins(manifests.engine("raising", "raising_engine"), None)
    assert discover().engine_manifest.name == "raising"
