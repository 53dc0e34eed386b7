"""Secrets of the notebook. There are none, unless the variable `SHIM_SECRETS` (JSON) names some."""

import json
import os


class SecretNotFoundError(Exception):
    pass


class NotebookAccessError(Exception):
    pass


def get(name):
    secrets = json.loads(os.environ.get("SHIM_SECRETS", "{}"))
    if name not in secrets:
        raise SecretNotFoundError(name)
    return secrets[name]
