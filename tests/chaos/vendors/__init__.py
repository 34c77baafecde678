"""The shapes of providers: a file for each has the world's account at a vendor of that shape, and a line in `ACCOUNTS`.

account.py    what the driver and a person need of any account
simulated.py  one with a vendor's simulator behind it
answers.py    what a proxy is answered that calls with a key
rules.py      what is demanded of its keys in the end: what an orphan is, and what is left to a person
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.chaos.outside import Outside
from tests.chaos.vendors.account import Account
from tests.chaos.vendors.capped import BedrockAccount
from tests.chaos.vendors.declared import AcmeAccount
from tests.chaos.vendors.leased import LeasedAccount
from tests.chaos.vendors.minted import OpenAIAccount
from tests.chaos.vendors.pooled import AnthropicAccount, ConsoleAccount
from tests.chaos.vendors.turned import CloudflareAccount, XAIAccount
from tests.chaos.vendors.two_slots import AzureAccount
from tests.chaos.vendors.unlisted import PerplexityAccount

# By Shape.vendor. Each is given the outside, and the name of its world.
ACCOUNTS: Mapping[str, Callable[[Outside, str], Account]] = MappingProxyType(
    {
        "account": lambda outside, world: OpenAIAccount(outside, world, owned=True),
        "minted": lambda outside, world: OpenAIAccount(outside, world, owned=False),
        "slots": AzureAccount,
        "pool": AnthropicAccount,
        "console": ConsoleAccount,
        "capped": BedrockAccount,
        "unlisted": PerplexityAccount,
        "declared": AcmeAccount,
        "leased": LeasedAccount,
        "turned": XAIAccount,
        "turned_at_once": CloudflareAccount,
    }
)
