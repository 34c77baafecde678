"""aws-bedrock-token-generator 1.1.0, AWS's own: the token for credentials, a region, a life and a moment that are given."""

import datetime
import json
import os
import sys
from unittest import mock

from aws_bedrock_token_generator import provide_token
from botocore import auth
from botocore.credentials import EnvProvider

asked = json.loads(sys.argv[1])
moment = datetime.datetime.fromisoformat(asked["moment"]).replace(tzinfo=None)
given = {name: value for name, value in asked["credentials"].items() if value}
with mock.patch.object(auth, "get_current_datetime", lambda *_, **__: moment):
    token = provide_token(asked["region"], EnvProvider(environ=given), datetime.timedelta(seconds=asked["seconds"]))
assert "AWS_SECRET_ACCESS_KEY" not in os.environ
json.dump({"token": token}, sys.stdout)
