"""Before any test module is imported: the suites of keyturn.testing whose asserts are to say what they saw."""

from __future__ import annotations

from pathlib import Path

import pytest

# Folders whose files share what takes long to start, and what it holds: one process plays them, one file after another.
_TOGETHER = ("e2e", "leaks", "tasks", "vault")
_HERE = Path(__file__).parent
_APART = ("test_chaos.py", "test_replicated_prefect.py")  # each with parts of its own

pytest.register_assert_rewrite(
    *(f"keyturn.testing.store_{part}" for part in ("scene", "creating", "races", "spending", "barring", "suite"))
)


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: the tests of a file stay together, and those of such a folder."""
    for item in items:
        folder = item.path.parent.name
        group = folder if folder in _TOGETHER and item.path.name not in _APART else str(item.path.relative_to(_HERE))
        item.add_marker(pytest.mark.xdist_group(group))
