"""Certificates and keys that the broker does not start with: one line says which file, and what about it."""

import os
import subprocess

import pytest

from support.broker import Leveret, binary

from .authority import pem_of, rsa_key, write_key

pytestmark = pytest.mark.own_broker


@pytest.fixture
def files(authority, server_key):
    """A certificate and its key."""
    return authority.server(key=server_key)


def complaint(command, **settings):
    """What a start or a check says before it fails."""
    words = [str(binary()), command]
    for key, value in settings.items():
        words += ["--set", f"tls.{key}={value}"]
    if command == "serve":
        words += ["--ephemeral", "--listen", "127.0.0.1:0", "--log-level", "off", "--set", "listen.amqps=127.0.0.1:0"]
    done = subprocess.run(words, env=Leveret.environment(), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_key_that_everybody_may_read(files):
    cert, key = files
    os.chmod(key, 0o644)
    for command in ("serve", "check"):
        assert f"{key}: everybody on this machine can get at the private key (mode 0644)" in complaint(
            command, cert=cert, key=key
        )


def test_a_key_that_a_group_may_read(secure):
    broker = secure()
    os.chmod(broker.settings["tls.key"], 0o640)
    words = [str(binary()), "check", "--set", f"tls.cert={broker.settings['tls.cert']}"]
    words += ["--set", f"tls.key={broker.settings['tls.key']}"]
    assert subprocess.run(words, env=Leveret.environment(), capture_output=True, check=False).returncode == 0


def test_an_encrypted_key(files, server_key):
    cert, key = files
    secret = b"a passphrase nobody must see"
    write_key(key, pem_of(server_key, secret))
    assert f"{key}: the private key is encrypted, which is not supported" in complaint("serve", cert=cert, key=key)


def test_a_key_of_another_certificate(files):
    cert, key = files
    write_key(key, pem_of(rsa_key()))
    found = complaint("serve", cert=cert, key=key)
    assert f"{key}: this is not the private key of the certificate in {cert}" in found


def test_files_that_are_not_what_they_should_be(files, authority):
    cert, key = files
    missing = authority.directory / "missing.pem"
    assert f"{missing}: No such file" in complaint("check", cert=missing, key=key)
    assert f"{key}: there is no certificate in it" in complaint("check", cert=key, key=key)
    assert f"{missing}: No such file" in complaint("check", cert=cert, key=missing)
    write_key(missing, cert.read_bytes())
    assert f"{missing}: there is no private key in it" in complaint("check", cert=cert, key=missing)
    verify = {"cert": cert, "key": key, "verify": "peer"}
    assert f"{key}: there is no certificate in it" in complaint("check", ca=key, **verify)
    found = complaint("check", ca=authority.path, crl=authority.path, **verify)
    assert f"{authority.path}: there is no list of revocations in it" in found
    assert "BEGIN PRIVATE" not in complaint("check", cert=cert, key=cert).replace('("BEGIN PRIVATE KEY")', "")
