"""No cookies. No API of ours needs one; a kept one that is not ASCII makes every later request of its client fail."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy


def no_cookies() -> CookieJar:
    """A jar that stays empty, whatever answers set."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
