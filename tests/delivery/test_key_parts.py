"""A key of several parts: under which names each is given, and that what cannot be taken apart replaces nothing."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.config import ConfigError, parse
from keyturn.delivery.agent import Choices, Plan
from keyturn.delivery.agent.vault_agent import template
from keyturn.delivery.aliases import shadowing
from keyturn.delivery.cache import KeyCache
from keyturn.delivery.env_file import EnvFile
from keyturn.delivery.environment import overridden, with_keys
from keyturn.delivery.keys import KeyReader, NotRenderedError, Variable
from keyturn.delivery.variables import names, variables
from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.key_parts import AWS_ACCESS_KEY, parameters, stranger, taken_apart
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey
from keyturn.providers.aws_access_key import AwsAccessKey
from keyturn.stores.memory import MemoryStore
from keyturn.testing.world import new_key
from tests.delivery.pairs import BOTH, ID, SECRET, new_pair, parts_of, spoilt, usual_names
from tests.delivery.ring_scene import held

CONFIG = """
providers:
  iam: {kind: aws_access_key, region: us-east-1, user_name: litellm}
  openai-org: {kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc}
stores:
  vault: {kind: vault_kv2, address: "http://127.0.0.1:8200", auth: {method: token, token: env:VAULT_TOKEN}}
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], control_token: env:CONTROL, master_key: env:MASTER}
credentials:
  bedrock-prod:
    provider: iam
    secrets: [{store: vault, path: litellm/providers, field: BEDROCK}]
    canary: {proxy: local, model: m}
    proxies: [local]
"""
SECOND = CONFIG[CONFIG.index("  bedrock-prod:") :].replace("bedrock-prod", "batch").replace("field: BEDROCK", "field: BATCH")


def named(env: str, more: str = "") -> dict[str, tuple[str, ...]]:
    found = names(parse(f"{CONFIG}    env: {env}\n{more}" if env else CONFIG + more), "local")
    return {name: each.variables for name, each in found.items()}


# Names ------------------------------------------------------------------------------------------------------------------


def test_each_part_has_its_usual_name_unless_it_is_given_another() -> None:
    assert named("") == {"bedrock-prod": (ID, SECRET)}
    assert named("{aws_secret_access_key: B}") == {"bedrock-prod": (ID, "B")}
    other = f"{SECOND}    env: {{aws_access_key_id: A, aws_secret_access_key: B}}\n"
    assert named("", other) == {"bedrock-prod": (ID, SECRET), "batch": ("A", "B")}
    assert usual_names().key == BOTH


def test_the_variables_of_a_kind_are_those_that_it_tells() -> None:
    assert AwsAccessKey.FACTS.variables == usual_names().variables


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("NAME", "several parts: give each a name, `env: {aws_access_key_id: NAME, aws_secret_access_key: NAME}`"),
        ("{id: A}", "there are: aws_access_key_id, aws_secret_access_key"),
        ("{aws_access_key_id: A, aws_secret_access_key: A}", "two parts of the key the same name"),
        (f"{{aws_access_key_id: {SECRET}}}", "two parts of the key the same name"),
        ("{}", "must be the name of a variable"),
        ("{aws_access_key_id: 'a b'}", "must be the name of a variable"),
        ("[A, B]", "must be the name of a variable"),
        ("''", "must be the name of a variable"),
    ],
)
def test_other_names_are_a_fault_of_the_file(env: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{CONFIG}    env: {env}\n")
    (fault,) = caught.value.faults
    assert fault.startswith("credentials.bedrock-prod.env (line 15): ") and words in fault


def test_a_key_that_is_one_text_has_no_parts() -> None:
    with pytest.raises(ConfigError, match=r"are one text: give one name, `env: NAME`"):
        parse(CONFIG.replace("provider: iam", "provider: openai-org") + "    env: {aws_access_key_id: A}\n")


def test_two_credentials_with_one_name_among_their_parts_are_refused() -> None:
    with pytest.raises(MisconfiguredError, match=rf"bedrock-prod and batch would both be \${SECRET} of local"):
        named("", f"{SECOND}    env: {{aws_access_key_id: A}}\n")


# Taking apart -----------------------------------------------------------------------------------------------------------


def test_a_pair_is_given_by_its_parts_and_as_litellm_takes_it() -> None:
    pair = new_pair()
    parts = parts_of(pair)
    assert {name: text.reveal() for name, text in usual_names().given(pair).items()} == parts
    spaced = KeyMaterial(json.dumps(dict(reversed(parts.items())), indent=None, separators=(" , ", " : ")))
    assert taken_apart(spaced, AWS_ACCESS_KEY) == taken_apart(pair, AWS_ACCESS_KEY)
    given = {name: text.reveal() for name, text in parameters(pair, AWS_ACCESS_KEY).items()}
    assert given == {"aws_access_key_id": parts[ID], "aws_secret_access_key": parts[SECRET]}
    assert parameters(pair) == {"api_key": pair}


def test_a_stranger_has_the_form_of_a_key_and_is_another_each_time() -> None:
    first, second = (parts_of(stranger(AWS_ACCESS_KEY)) for _ in range(2))
    assert first[ID] != second[ID] and first[SECRET] != second[SECRET]
    assert (first[ID][:4], len(first[ID]), len(first[SECRET])) == ("AKIA", 20, 40)


@pytest.mark.parametrize("number", range(len(spoilt())))
async def test_a_text_that_is_no_pair_is_told_where_it_is_read_and_never_quoted(number: int) -> None:
    text = spoilt()[number]
    store = MemoryStore({"litellm/providers": {"BEDROCK": text}})
    (variable,) = variables(parse(CONFIG), "local", lambda _: store)
    with pytest.raises(MisconfiguredError, match=r"credentials\.bedrock-prod: .* is not the JSON object") as caught:
        await variable.read()
    told = f"{caught.value!r} {caught.value} {caught.value.remedy} {caught.value.__context__!r} {caught.value.__cause__!r}"
    assert not [word for word in text.replace('"', " ").split() if len(word) > 25 and word in told]


async def test_what_is_read_is_the_whole_text_and_its_fingerprint() -> None:
    pair = new_pair()
    store = MemoryStore({"litellm/providers": {"BEDROCK": pair.reveal()}})
    (variable,) = variables(parse(CONFIG), "local", lambda _: store)
    found = await variable.read()
    assert found.material == pair
    assert found.version.fingerprint == pair.fingerprint()
    assert (variable.name, variable.names.variables) == (BOTH, (ID, SECRET))


# A program's environment ------------------------------------------------------------------------------------------------


def test_what_belongs_to_another_pair_is_not_given_beside_ours() -> None:
    others = {"AWS_SESSION_TOKEN": "of keyturn's role", "AWS_SECURITY_TOKEN": "as before", "PATH": "/bin"}
    given = usual_names().given(new_pair())
    environment = with_keys({**others, ID: "of keyturn's role"}, given)
    assert environment.keys() == {ID, SECRET, "PATH"}
    told = overridden({**others, ID: "x"}, given)
    assert [sentence.split()[0] for sentence in told] == [ID, "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]
    assert with_keys(others, {"OPENAI_API_KEY": new_key()}).keys() == {*others, "OPENAI_API_KEY"}


def test_a_bearer_token_and_a_profile_come_before_a_pair() -> None:
    environment = {ID: "i", SECRET: "s", "AWS_BEARER_TOKEN_BEDROCK": "b", "AWS_PROFILE_NAME": "p", "AWS_REGION": "r"}
    assert shadowing(ID, environment) == ["AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE_NAME"]
    assert shadowing("AWS_BEARER_TOKEN_BEDROCK", environment) == []


# Rendered, and kept -----------------------------------------------------------------------------------------------------


async def test_a_rendered_pair_is_one_line_and_the_whole_text(tmp_path: Path) -> None:
    path, pair = tmp_path / "keys.env", new_pair()
    (variable,) = EnvFile([path]).variables({"bedrock-prod": usual_names()})
    path.write_text(f"{BOTH}='{pair.reveal()}'\n")
    found = await variable.read()
    assert (found.material, found.version.fingerprint) == (pair, pair.fingerprint())
    assert {name: text.reveal() for name, text in variable.names.given(found.material).items()} == parts_of(pair)
    for text in spoilt()[:3]:
        path.write_text(f"{BOTH}='{text}'\n")
        with pytest.raises(NotRenderedError, match="of no use") as caught:
            await variable.read()
        assert text not in f"{caught.value!r} {caught.value.__context__!r}"
    path.write_text("".join(f"{name}='{text}'\n" for name, text in parts_of(pair).items()))
    with pytest.raises(NotRenderedError, match=f"no value for {BOTH}"):
        await variable.read()


def test_an_agent_renders_the_whole_text_under_the_name_that_is_read() -> None:
    plan = Plan.of(parse(CONFIG), "local", ("vault_kv2",), Choices())
    assert [each.variable for each in plan.wanted] == [BOTH]
    assert f"\n{BOTH}='{{{{ .Data.data.BEDROCK |" in template(plan)


async def test_a_cache_keeps_the_whole_text(tmp_path: Path) -> None:
    pair, down = held(new_pair()), [False]

    async def read() -> HeldKey:
        if down[0]:
            raise UnavailableError("the store is down")
        return pair

    async def pause(seconds: float) -> None:
        down[0] = True

    variable = Variable("bedrock-prod", BOTH, read, parts=usual_names().parts)
    cache = KeyCache(tmp_path / "cache", KeyMaterial("s" * 40), ["local", BOTH])
    first = await KeyReader([variable], pause, cache).first(timedelta(0), lambda _: None)
    down[0] = True
    again = await KeyReader([variable], pause, cache).first(timedelta(0), lambda _: None)
    assert first["bedrock-prod"] == again["bedrock-prod"] == pair
