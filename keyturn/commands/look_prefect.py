"""What keyturn doctor says of Prefect: whether its API answers, and has the deployment that retires old keys."""

from __future__ import annotations

import os

import httpx

from keyturn import environments
from keyturn.key_shapes import masked
from keyturn.model import Finding


async def prefect_findings() -> list[tuple[str, Finding]]:
    """The API that runs are reported to, and the deployment that retires old keys."""
    api = os.environ.get("PREFECT_API_URL", "")
    if not api:
        detail = "PREFECT_API_URL is not set: each command starts a server of its own, and no schedule runs"
        return [("prefect", Finding("API", None, detail, "start `prefect server start` and set PREFECT_API_URL"))]
    retire = f"retire/{environments.deployment(environments.named())}"
    auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
    credentials = httpx.BasicAuth(*auth.partition(":")[::2]) if auth else None
    try:
        async with httpx.AsyncClient(timeout=10, auth=credentials) as client:
            answer = await client.get(f"{api}/deployments/name/{retire}")
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        detail = f"{masked(api)} does not answer ({type(error).__name__})"
        return [("prefect", Finding("API", False, detail, "start it, or correct PREFECT_API_URL"))]
    if answer.status_code == 401:
        return [("prefect", Finding("API", False, "refuses us (401)", "set PREFECT_API_AUTH_STRING"))]
    there = answer.status_code == 200
    detail = "" if there else "not there: old keys are only revoked by hand"
    return [
        ("prefect", Finding("API", True)),
        (
            "prefect",
            Finding(f"deployment {retire}", there, detail, "" if there else "run `keyturn serve` or `keyturn deploy`"),
        ),
    ]
