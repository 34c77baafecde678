"""Proving keys through the gateway they are meant for."""

from keyturn.canary.litellm import LiteLLMCanary

__all__ = ["LiteLLMCanary"]
