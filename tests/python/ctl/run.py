"""`leveret ctl` with any words and environment."""

import subprocess

from support.broker import Leveret, binary


def run(*words, environment=None, stdin="", seconds=60):
    """Exit code, standard output and standard error of a command."""
    command = [str(binary()), "ctl", *words]
    return finish(command, environment, stdin, seconds)


def finish(command, environment=None, stdin="", seconds=60):
    """The same of any command."""
    merged = {**Leveret.environment(), **(environment or {})}
    options = {"capture_output": True, "text": True, "timeout": seconds, "check": False, "input": stdin}
    done = subprocess.run(command, env=merged, **options)
    return done.returncode, done.stdout, done.stderr


def on_broker(broker, *words, **options):
    """The same by the control socket of a broker."""
    return run(*words, "--data-dir", str(broker.data_dir), **options)


def done(broker, *words, **options):
    """What a command prints that has to succeed."""
    code, out, err = on_broker(broker, *words, **options)
    assert code == 0, err
    return out


def fails(broker, code, *words, **options):
    """The one line that a command says which has to fail with this code."""
    found, _, err = on_broker(broker, *words, **options)
    assert found == code, err
    assert err.startswith("leveret: ") and err.count("\n") == 1, err
    return err
