"""What may be typed after `keyturn policy`, and what of it does not go together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyturn.errors import MisconfiguredError

_ACCOUNT = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed. `account`, `kms_key`: for AWS alone; `watches`, `service_account`: for Kubernetes alone."""

    what: str
    who: str
    store: str | None = None
    proxy: str | None = None
    account: str | None = None
    kms_key: str | None = None
    creates: bool = False
    watches: bool = False
    service_account: str | None = None

    @property
    def role(self) -> str:
        return "keyturn" if self.who == "rotator" else "litellm"

    @property
    def subject(self) -> str:
        """Whom a Role is bound to: NAME, in the Role's own namespace, or NAMESPACE/NAME."""
        return self.service_account or self.role

    def check(self) -> None:
        """MisconfiguredError where it does not go together."""
        if self.what != "aws" and (self.account or self.kms_key):
            raise MisconfiguredError("--account and --kms-key are for aws", remedy="leave them out")
        if self.who == "rotator" and self.proxy is not None:
            raise MisconfiguredError("--proxy is for a proxy's policy", remedy="add --for proxy")
        if self.who == "proxy" and self.creates:
            raise MisconfiguredError("a proxy creates nothing", remedy="leave --create out, or use --for rotator")
        if self.watches and (self.what, self.who) != ("kubernetes", "proxy"):
            raise MisconfiguredError(
                "--watch is for a proxy's permissions in Kubernetes", remedy="leave it out, or use kubernetes --for proxy"
            )
        if self.what != "kubernetes" and self.service_account:
            raise MisconfiguredError("--service-account is for kubernetes", remedy="leave it out")
        if self.service_account and not _ACCOUNT.fullmatch(self.service_account):
            raise MisconfiguredError("--service-account is not of the form NAME or NAMESPACE/NAME", remedy="name one")
