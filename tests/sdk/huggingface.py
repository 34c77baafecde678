"""PyPI huggingface_hub: see the package's text. It has no call for tokens; the one it asks about is in $ADMIN."""

import json
import os
import sys

os.environ["HF_TOKEN_PATH"] = "no-such-file"  # read on import; a 401 makes it look there

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError


def whoami(text: str) -> str:
    try:
        return str(HfApi(endpoint=sys.argv[1], token=text).whoami()["auth"]["accessToken"]["role"])
    except HfHubHTTPError as error:
        return str(error.response.status_code)


json.dump({"known": whoami(os.environ["ADMIN"]), "unknown": whoami("hf_nobody")}, sys.stdout)
