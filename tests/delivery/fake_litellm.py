"""As much of LiteLLM as a library as a key ring has to do with.

Read in 1.106.2: `completion` adds what a stored credential says, where the call itself says nothing; then `litellm.api_key`,
then the environment. tests/walks/test_keyring.py does the same with the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any


class CredentialItem:
    """The model's constructor makes a plain dict of what it is given; a later assignment is taken as it is."""

    def __init__(self, credential_name: str, credential_values: dict[str, str], credential_info: dict[str, str]) -> None:
        self.credential_name = credential_name
        self.credential_values = dict(credential_values)
        self.credential_info = credential_info


class AuthenticationError(Exception):
    """As LiteLLM words it, with what the provider said."""

    status_code = 401


class NotFoundError(Exception):
    status_code = 404


class FakeLiteLLM:
    """`provider`: what a key gets, an answer's text or an error. `sent`: the keys that calls were made with."""

    def __init__(self, environment: Mapping[str, str], provider: Callable[[str], Any]) -> None:
        self.credential_list: list[Any] = []
        self.api_key: str | None = None
        self.model_fallbacks: list[str] | None = None
        self.types = SimpleNamespace(utils=SimpleNamespace(CredentialItem=CredentialItem))
        self.sent: list[str] = []
        self.arguments: list[dict[str, Any]] = []
        self._environment, self._provider = environment, provider

    def completion(self, **arguments: Any) -> Any:
        self.arguments.append(dict(arguments))
        for item in self.credential_list:
            if item.credential_name == arguments.get("litellm_credential_name"):
                for name, value in item.credential_values.items():
                    arguments.setdefault(name, value)
        key = arguments.get("api_key") or self.api_key or self._environment.get("OPENAI_API_KEY", "")
        self.sent.append(key)
        text = self._provider(key)
        if isinstance(text, Exception):
            raise text
        message = SimpleNamespace(content=text, role="assistant")
        return SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")], _hidden_params={})
