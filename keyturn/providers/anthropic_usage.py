"""When a key of Anthropic was last used, by its usage report: the newest hour with a use, and in that the newest minute.

PyPI anthropic 2.12.0, resources/beta/organization/analytics/usage.py: rows by time bucket, newest first with order_by=time;
a range spans at most 31 days, and with buckets of a minute 24 hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from keyturn.json_object import text
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.fields import iso, items, rfc3339

_PATH = "/v1/organizations/analytics/usage"
_LONGEST = timedelta(days=30)


async def last_use(api: AdminApi, key_id: str, now: datetime, beta: str) -> datetime | None:
    """The end of the minute of the newest use; None: none within 30 days."""
    hour = await _newest(api, key_id, now - _LONGEST, now, "1h", beta)
    if hour is None:
        return None
    minute = await _newest(api, key_id, hour[0], min(hour[1], now), "1m", beta)
    return min((minute or hour)[1], now)


async def _newest(
    api: AdminApi, key_id: str, since: datetime, until: datetime, width: str, beta: str
) -> tuple[datetime, datetime] | None:
    asked = {
        "starting_at": rfc3339(since),
        "ending_at": rfc3339(until),
        "api_key_ids[]": key_id,
        "time_bucket_width": width,
        "order_by": "time",
        "limit": "1",
    }
    rows = await api.read(_PATH, _rows, params=asked, more={b"anthropic-beta": beta.encode()})
    return max(rows, key=lambda row: row[1], default=None)


def _rows(document: Mapping[str, Any]) -> Sequence[tuple[datetime, datetime]]:
    return [(iso(text(row.get("starting_at"))), iso(text(row.get("ending_at")))) for row in items(document.get("data"))]
