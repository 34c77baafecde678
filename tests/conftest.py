"""Before any test module is imported: the suites of keyturn.testing whose asserts are to say what they saw; and which tests
one process plays where there are two of them (`--dist loadfile`)."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Folders whose files share what takes long to start, and what it holds: one process plays them, one file after another.
_TOGETHER = ("e2e", "leaks", "tasks", "vault")
_APART = ("test_chaos.py", "test_replicated_prefect.py")  # each with parts of its own

pytest.register_assert_rewrite(
    *(f"keyturn.testing.store_{part}" for part in ("scene", "creating", "races", "spending", "barring", "suite"))
)


class _ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # it brings no types
    """A file's tests stay together, and those of such a folder. (xdist 3.8.0 sees no groups with pytest 9.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePath(nodeid.partition("::")[0])
        return file.parent.name if file.parent.name in _TOGETHER and file.name not in _APART else str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _ByFolder(config, log) if config.getoption("dist") == "loadfile" else None
