"""Before any test module is imported: the suites of keyturn.testing whose asserts are to say what they saw."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(f"keyturn.testing.store_{part}" for part in ("scene", "creating", "races", "spending", "barring", "suite"))
)
