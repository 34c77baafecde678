"""PyPI anthropic 2.12.0: see the package's text. Arguments: the id of a key, and its text in $KEY."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta

from anthropic import Anthropic, AuthenticationError

known, now = sys.argv[2], datetime.now(UTC)
with Anthropic(api_key=os.environ["ADMIN"], base_url=sys.argv[1], max_retries=0) as client:
    keys = client.organization.api_keys
    listed = [key.id for key in keys.list(limit=2)]
    before = keys.retrieve(known)
    off = keys.update(known, status="inactive")
    inactive = [key.id for key in keys.list(status="inactive")]
    on = keys.update(known, status="active")
    used = [
        (row.starting_at.isoformat(), row.ending_at.isoformat())
        for row in client.beta.organization.analytics.usage.list(
            starting_at=now - timedelta(days=2),
            ending_at=now + timedelta(days=1),
            api_key_ids=[known],
            time_bucket_width="1h",
            order_by="time",
            limit=1,
            betas=["analytics-usage-cost-2026-08-24"],
        ).data
    ]
    final = keys.update(known, status="archived")


def models(text: str) -> list[str] | str:
    try:
        with Anthropic(api_key=text, base_url=sys.argv[1], max_retries=0) as client:
            return [model.id for model in client.models.list()]
    except AuthenticationError as error:
        return str(error.body["error"]["type"])


json.dump(
    {
        "listed": listed,
        "hint": before.partial_key_hint,
        "statuses": [before.status, off.status, on.status, final.status],
        "inactive": inactive,
        "used": used,
        "stranger": models("nobody's"),
    },
    sys.stdout,
)
