"""`leveret ctl` against a broker that a test has started on a data directory."""

import json
import subprocess

from support.broker import Leveret, binary


class Refused(AssertionError):
    """The command failed; the text is what it said."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


def ctl(broker, command, *arguments, stdin=""):
    """Runs a command and answers what it printed."""
    words = [str(binary()), "ctl", command, *arguments, "--data-dir", str(broker.data_dir)]
    environment = Leveret.environment()
    options = {"capture_output": True, "text": True, "timeout": 60, "check": False, "input": stdin}
    done = subprocess.run(words, env=environment, **options)
    if done.returncode != 0:
        raise Refused(done.stderr.strip(), done.returncode)
    return done.stdout


def set_policy(broker, name, pattern, definition, *options, operator=False):
    """Sets a policy, or an operator policy."""
    command = "set_operator_policy" if operator else "set_policy"
    return ctl(broker, command, *options, name, pattern, json.dumps(definition))


def clear_policy(broker, name, operator=False):
    """Takes a policy away."""
    return ctl(broker, "clear_operator_policy" if operator else "clear_policy", name)


def listed(broker, command, *options):
    """What a list command says, as objects."""
    return json.loads(ctl(broker, command, "--json", *options))
