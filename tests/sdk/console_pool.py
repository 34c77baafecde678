"""PyPI openai, as LiteLLM brings it: the key that it lists models with is in $ADMIN."""

import json
import os
import sys

from openai import APIStatusError, OpenAI


def models(text: str) -> list[str] | int:
    try:
        with OpenAI(api_key=text, base_url=f"{sys.argv[1]}/openai/v1", max_retries=0) as client:
            return [model.id for model in client.models.list()]
    except APIStatusError as error:
        return error.status_code


json.dump({"known": models(os.environ["ADMIN"]), "unknown": models("nobody's")}, sys.stdout)
