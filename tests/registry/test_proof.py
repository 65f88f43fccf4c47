from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from components.contracts.bundle_files import verify_files
from components.contracts.codes import Code
from components.contracts.errors import BundleError, ConfigError
from components.registry import keys
from components.registry.bundle import load_bundle
from components.registry.keys import KEY_FILE_VARIABLE, TRUSTED_VARIABLE, TrustedKeys, signing_key
from components.registry.proof import Keyring, SigningKey, Statement, key_of
from components.registry.starter import BUNDLE
from components.registry.trust import SHIPPED, Trust, check_authentic, check_gates
from tests.registry.made import make_bundle

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
SHA256 = "a" * 64
STATEMENT = Statement(
    bundle_sha256=SHA256, gates={"ece": "passed"}, git_commit="c" * 40, data_sha256="d" * 64, signed_by="register"
)
PROOF = KEY.sign(STATEMENT)


@pytest.fixture(autouse=True)
def no_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEY_FILE_VARIABLE, TRUSTED_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def trusted(configured: tuple[str, ...], folder: Path | None) -> tuple[str, ...]:
    return TrustedKeys.of(configured, folder).keyring().trusted


def verify(proof: str, *keys: SigningKey, sha256: str = SHA256) -> Statement:
    return Keyring(trusted=tuple(key.public for key in keys)).verify(proof, bundle_sha256=sha256, where="mer version 3")


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(PROOF), **fields})


def test_a_proof_of_a_trusted_key_gives_its_statement() -> None:
    assert verify(PROOF, OTHER, KEY) == STATEMENT
    assert key_of(PROOF) == KEY.public
    assert verify(SigningKey.from_pem(KEY.to_pem(), where="here").sign(STATEMENT), KEY) == STATEMENT


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        (changed(statement=asdict(replace(STATEMENT, gates={"ece": "failed"}))), Code.BAD_SIGNATURE),
        (changed(statement=asdict(replace(STATEMENT, bundle_sha256="b" * 64))), Code.BAD_SIGNATURE),
        (changed(signature=json.loads(OTHER.sign(STATEMENT))["signature"]), Code.BAD_SIGNATURE),
        (changed(key=OTHER.public), Code.UNTRUSTED_KEY),
        (OTHER.sign(STATEMENT), Code.UNTRUSTED_KEY),
        (KEY.sign(replace(STATEMENT, bundle_sha256="b" * 64)), Code.BAD_SIGNATURE),
        (changed(statement={**asdict(STATEMENT), "more": ""}), Code.BAD_SIGNATURE),
        (changed(statement={**asdict(STATEMENT), "git_commit": 1}), Code.BAD_SIGNATURE),
        (changed(statement={**asdict(STATEMENT), "gates": []}), Code.BAD_SIGNATURE),
        (changed(signature="no base64"), Code.BAD_SIGNATURE),
        ("[" * 5000, Code.BAD_SIGNATURE),
        ("{}", Code.BAD_SIGNATURE),
        (PROOF + " " * 20_000, Code.BAD_SIGNATURE),
    ],
)
def test_what_was_changed_or_is_of_a_stranger_does_not_hold(proof: str, code: Code) -> None:
    with pytest.raises(BundleError) as caught:
        verify(proof, KEY)
    assert caught.value.code == code
    assert caught.value.where == "mer version 3"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text", ["", "rsa:AAAA", "ed25519:AAAA", "ed25519:!!", pytest.param(KEY.public + "A", id="too long")]
)
def test_what_is_not_a_public_key_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"rollout.trusted_keys: not a public key"):
        Keyring(trusted=(text,))


def test_a_projects_own_key_is_made_once_for_its_owner_alone_and_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "signing"
    assert trusted((), folder) == trusted((), None) == ()
    running = TrustedKeys.of((), folder)
    key = signing_key(folder)
    assert running.keyring().trusted == (key.public,)  # made while a service runs
    private = folder / keys.PRIVATE
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", keys.PRIVATE, keys.PUBLIC]
    private.chmod(0o644)
    assert signing_key(folder).public == key.public
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert trusted((), folder) == (key.public,)


def test_the_environment_goes_before_the_setting_and_that_before_the_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = signing_key(tmp_path).public
    assert trusted((OTHER.public,), tmp_path) == (OTHER.public,)
    secret = tmp_path / "secret.pem"
    secret.write_bytes(KEY.to_pem())
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(secret))
    assert signing_key(tmp_path).public == KEY.public != own
    assert trusted((), tmp_path) == (KEY.public,)
    monkeypatch.setenv(TRUSTED_VARIABLE, f"{own}, {OTHER.public}")
    assert trusted((KEY.public,), tmp_path) == (own, OTHER.public)
    os.truncate(secret, 10)
    with pytest.raises(ConfigError, match="not a private key"):
        signing_key(tmp_path)
    secret.unlink()
    with pytest.raises(ConfigError, match=r"MER_SIGNING_KEY_FILE: the signing key cannot be read"):
        signing_key(tmp_path)


def test_the_grounds_to_trust_a_version(tmp_path: Path) -> None:
    sha256 = make_bundle(tmp_path / "made")
    own = Keyring(trusted=(KEY.public,))

    def ground(proof: str, sha256: str = sha256, keys: Keyring = own) -> str:
        return check_authentic(proof, bundle_sha256=sha256, keyring=keys, cache=tmp_path, where="mer version 3").ground

    proof = KEY.sign(replace(STATEMENT, bundle_sha256=sha256))
    assert ground(proof) == "signed"
    assert ground("", verify_files(BUNDLE)[0], Keyring()) == "shipped"
    with pytest.raises(BundleError, match=r"mer version 3: the version is not signed.*`mer sign 3`") as caught:
        ground("")
    assert caught.value.code == Code.UNSIGNED
    (tmp_path / "made").rename(tmp_path / sha256)
    assert ground("") == "kept"
    with pytest.raises(BundleError) as caught:  # a proof that does not hold counts against it
        ground(OTHER.sign(replace(STATEMENT, bundle_sha256=sha256)))
    assert caught.value.code == Code.UNTRUSTED_KEY
    trust = check_authentic(proof, bundle_sha256=sha256, keyring=own, cache=tmp_path, where="")
    bundle = trust.applied_to(load_bundle(tmp_path / sha256))
    assert (bundle.lineage.git_commit, bundle.lineage.data_sha256) == (STATEMENT.git_commit, STATEMENT.data_sha256)
    (tmp_path / sha256 / "golden.json").write_text("{}")
    with pytest.raises(BundleError, match="not signed"):
        ground("")


def test_the_starter_is_known_by_its_hash() -> None:
    assert verify_files(BUNDLE)[0] == SHIPPED[-1]


@pytest.mark.parametrize("gates", [[], [{"name": "ece", "passed": False}], [{"name": "ece", "passed": "true"}]])
def test_the_gates_in_the_bundle_count(gates: list[dict[str, Any]], tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", gates=gates)
    with pytest.raises(BundleError, match="the gates in the bundle did not pass") as caught:
        check_gates(load_bundle(tmp_path / "made"), Trust(ground="signed", statement=STATEMENT))
    accepted = replace(STATEMENT, accepted_by="kim")
    check_gates(load_bundle(tmp_path / "made"), Trust(ground="signed", statement=accepted))
    assert caught.value.code == Code.GATES
