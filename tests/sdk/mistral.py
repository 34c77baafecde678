"""PyPI mistralai 3.7.0: see the package's text. It has no keys; the key that it lists models with is in $ADMIN."""

import json
import os
import sys

from mistralai.client import Mistral
from mistralai.client.errors import MistralError


def models(text: str) -> list[str] | int:
    try:
        with Mistral(api_key=text, server_url=sys.argv[1]) as client:
            return [model.id for model in client.models.list().data]
    except MistralError as error:
        return error.status_code


json.dump({"known": models(os.environ["ADMIN"]), "unknown": models("nobody's")}, sys.stdout)
