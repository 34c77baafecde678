"""One world: its secrets, its account at the provider, its proxies with real supervisors, and its keyturn.yaml."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyturn.material import KeyMaterial
from keyturn.stores.json_bundle import field_text, with_field
from keyturn.stores.vault_policy import policy
from keyturn.testing.embedded import REGION
from keyturn.testing.litellm import Deployment, write_config
from tests.chaos.disk import DISK
from tests.chaos.disk import VARIABLE as DISK_VARIABLE
from tests.chaos.fleet import Fleet
from tests.chaos.hosts import DIRECT, SUFFIX, outside
from tests.chaos.outside import MODEL, NAMESPACE, Outside
from tests.chaos.shapes import FIELD, Kind, Shape
from tests.chaos.vendors import ACCOUNTS

WHOLE = "key"  # the field of a whole secret at Vault
MARKER = "=the key="


@dataclass(frozen=True, slots=True)
class Spot:
    """One value. `field` None: the whole secret."""

    store: Kind
    path: str
    field: str | None


@dataclass(frozen=True, slots=True)
class Credential:
    """`spots`: the first decides."""

    name: str
    variable: str
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """What a secret tells the proxies to use, and everything that stands beside it, byte for byte."""

    fingerprint: str
    beside: str


class World:
    """`start` it once; `renew` puts it back to how a person would have set it up."""

    def __init__(self, shape: Shape, outside: Outside, number: int = 0) -> None:
        self.shape, self.outside = shape, outside
        self.name = shape.name if not number else f"{shape.name}-{number}"
        self.folder = outside.folder / "worlds" / self.name
        self.config = self.folder / "keyturn.yaml"
        self.late = self.folder / "keyturn-late.yaml"  # of a sweep that comes hours later
        self.credentials = [self._credential(n) for n in range(shape.credentials)]
        self.account = ACCOUNTS[shape.vendor](outside, self.name)
        self.environ = {"KEYTURN_CONFIG": str(self.config)}
        if self.uses("files"):
            self.environ[DISK_VARIABLE] = f"http://{DISK}{SUFFIX}:{self.outside.disk.port}"
        self.fleet = Fleet(self.name, shape.members, outside)
        self.bystanders: set[str] = set()  # fingerprints of keys that are nobody's of this world
        self.by_hand: set[str] = set()  # of those that a person put into service
        self._key_ids: dict[str, str] = {}  # credential -> the vendor's id of that one, now

    def _credential(self, n: int) -> Credential:
        single = self.shape.credentials == 1
        variable = FIELD if single else f"{FIELD}_{n}"
        path = f"chaos/{self.name}"
        spots = tuple(
            # A Secret's name has no slash in it: before one the namespace would stand.
            Spot(place.store, self.name if place.store == "kube" else path, None if place.whole else variable)
            for place in self.shape.places
        )
        return Credential(self.name if single else f"{self.name}-{n}", variable, spots)

    @property
    def parts(self) -> dict[str, int]:
        """Every part of the outside that a worker of this world talks to, and its port."""
        ports = {"provider": self.account.port, **self.account.parts}
        if self.uses("vault"):
            ports["vault"] = self.outside.vault_port
        if self.uses("aws"):
            ports["aws"] = self.outside.aws_port
        if self.uses("kube"):
            ports["kube"] = self.outside.kube_port
        if self.uses("files"):
            ports[DISK] = self.outside.disk.port
        for n, member in enumerate(self.fleet.members, 1):
            ports |= {f"proxy-{n}": member.port, f"supervisor-{n}": member.control}
        return ports

    def uses(self, store: Kind) -> bool:
        return any(place.store == store for place in self.shape.places)

    @property
    def pool(self) -> Spot:
        """Where the pool of its provider is, if that has one: a bundle of its own, beside the deciding secret's."""
        first = self.credentials[0].spots[0]
        return Spot(first.store, f"{first.path}-ahead", None)

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.account.start(self)
        self.environ |= self.account.environ
        if self.uses("vault"):
            await self._open_vault()
        for name in self.account.bystanders:
            self.bystanders.add(KeyMaterial((await self.account.new_key(name)).text).fingerprint())
        await self.write_by_hand()
        await asyncio.to_thread(self._start_members)

    async def _open_vault(self) -> None:
        """An AppRole mount of this world's own: revoking what was issued by it touches no other world."""
        mount, vault = self.vault_login, self.outside.vault
        await vault("POST", f"sys/auth/{mount}", type="approle")
        rules = policy(f"chaos/{self.name}") + policy(self.pool.path, creates=True)
        await vault("POST", f"sys/policies/acl/{self.name}", policy=rules)
        await vault("POST", f"auth/{mount}/role/keyturn", token_policies=[self.name], token_ttl="2h", token_max_ttl="2h")
        role = await vault("GET", f"auth/{mount}/role/keyturn/role-id")
        made = await vault("POST", f"auth/{mount}/role/keyturn/secret-id")
        self.environ |= {"VAULT_ROLE_ID": role["data"]["role_id"], "VAULT_SECRET_ID": made["data"]["secret_id"]}

    @property
    def vault_login(self) -> str:
        return f"approle-{self.name}"

    async def expire_vault_tokens(self) -> None:
        """Every token that a process of this world holds is refused from now on."""
        await self.outside.vault("PUT", f"sys/leases/revoke-prefix/auth/{self.vault_login}/login")

    def _configuration(self) -> dict[str, Any]:
        ports = self.parts
        login = {"method": "approle", "role_id": "env:VAULT_ROLE_ID", "secret_id": "env:VAULT_SECRET_ID"}
        stores: dict[str, Any] = {}
        if "vault" in ports:
            auth = {**login, "mount": self.vault_login}
            address = outside("vault", ports["vault"])
            stores["vault"] = {"kind": "vault_kv2", "address": address, "auth": auth, "timeout": "5s"}
        if "aws" in ports:
            url = outside("aws", ports["aws"])
            keys = {"access_key_id": "env:AWS_ACCESS_KEY_ID", "secret_access_key": "env:AWS_SECRET_ACCESS_KEY"}
            stores["aws"] = {"kind": "aws_secrets_manager", "region": REGION, "endpoint_url": url, **keys, "timeout": "5s"}
        if "kube" in ports:
            way = {"server": outside("kube", ports["kube"]), "token": "env:KUBERNETES_TOKEN"}
            stores["kube"] = {"kind": "kubernetes_secret", "namespace": NAMESPACE, **way, "timeout": "5s"}
        if DISK in ports:
            stores["files"] = {"kind": "dotenv", "folder": str(self.outside.keys)}
        own = self.account.settings(outside("provider", ports["provider"]), self)
        provider = {"kind": self.account.KIND, "propagation": "5s", "timeout": "5s", **own}
        fleet = {
            "kind": "process",
            "members": [
                {
                    "url": outside(f"proxy-{n}", ports[f"proxy-{n}"]),
                    "control": outside(f"supervisor-{n}", ports[f"supervisor-{n}"]),
                }
                for n in range(1, self.shape.members + 1)
            ],
            "control_token": "env:KEYTURN_CONTROL_TOKEN",
            "master_key": "env:LITELLM_MASTER_KEY",
            "roll_timeout": "2m",
        }
        return {
            "providers": {"vendor": provider},
            "stores": stores,
            "proxies": {self.name: fleet},
            "credentials": {
                each.name: {
                    "provider": "vendor",
                    "secrets": [_address(spot) for spot in each.spots],
                    "env": each.variable,
                    "canary": {"proxy": self.name, "model": each.name, "timeout": "5s"},
                    "proxies": [self.name],
                    "overlap": self.shape.overlap,
                    **self.account.CREDENTIAL,
                    **({} if self.account.shows_hints else {"key_id": self._key_ids[each.name]}),
                }
                for each in self.credentials
            },
            "sweep": {"backoff": "1s", "longest_backoff": "1s", "park_after": 100},
        }

    def _start_members(self) -> None:
        """They read the store by themselves: their addresses are the servers' own."""
        config = self.folder / "members.yaml"
        config.write_text(re.sub(rf"http://[a-z0-9-]+\{SUFFIX}", f"http://{DIRECT}", self.config.read_text()))
        deployments = [
            Deployment(f"{each.name}-1", self.account.inference, each.name, each.variable, f"openai/{MODEL}")
            for each in self.credentials
        ]
        models = write_config(self.folder / "litellm.json", deployments)
        self.fleet.start(models, {**self.environ, "KEYTURN_CONFIG": str(config)})

    # As a person would --------------------------------------------------------------------------------------------------

    async def write_by_hand(self) -> None:
        """Every credential has a key made by hand, and no trace of keyturn."""
        fresh = {each.variable: await self.account.new_key(f"{each.name} by hand") for each in self.credentials}
        keys = {variable: each.text for variable, each in fresh.items()}
        self.by_hand |= {KeyMaterial(key).fingerprint() for key in keys.values()}
        self._key_ids = {each.name: fresh[each.variable].id for each in self.credentials}
        self._configure()
        for spot in {Spot(spot.store, spot.path, None) for each in self.credentials for spot in each.spots}:
            first = self.credentials[0]
            whole = any(each.field is None for each in first.spots if each.store == spot.store)
            if spot.store == "vault":
                fields = (
                    {WHOLE: keys[first.variable]} if whole else {**keys, "OTHER": "untouched", "NESTED": {"a": [1, 2.50]}}
                )
                await self._clear_vault(spot.path)
                await self.outside.vault("POST", f"secret/data/{spot.path}", data=fields)
            elif spot.store == "kube":
                texts = {WHOLE: keys[first.variable]} if whole else {**keys, "OTHER": "untouched"}
                await self._clear_kube(spot.path)
                data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
                labels = {"team": "another"}
                made = {"metadata": {"name": spot.path, "labels": labels}, "data": {**data, "BINARY": "/wD+"}}
                await self.outside.kube("POST", "", apiVersion="v1", kind="Secret", type="Opaque", **made)
            elif spot.store == "files":
                self._write_file(spot.path, keys[first.variable] + "\n" if whole else _variables(keys))
            else:
                await self.outside.aws("DeleteSecret", SecretId=spot.path, ForceDeleteWithoutRecovery=True)
                text = keys[first.variable] if whole else _bundle(keys)
                await self.outside.aws("CreateSecret", Name=spot.path, SecretString=text)

    async def _clear_vault(self, path: str) -> None:
        await self.outside.vault("DELETE", f"secret/metadata/{path}")
        for each in self.credentials:
            for spot in each.spots:
                if spot.store == "vault":
                    await self.outside.vault("DELETE", f"secret/metadata/keyturn/{path}/{spot.field or '_value'}")

    async def _clear_kube(self, name: str) -> None:
        """The Secret, and what keyturn keeps beside it."""
        for item in (await self.outside.kube("GET", ""))["items"]:
            found = item["metadata"]["name"]
            if found == name or (found.startswith(f"{name}.") and found.endswith(".keyturn")):
                await self.outside.kube("DELETE", f"/{found}")

    def _file(self, path: str) -> Path:
        return self.outside.keys / path

    def _write_file(self, path: str, text: str) -> None:
        file = self._file(path)
        file.parent.mkdir(exist_ok=True)
        shutil.rmtree(file.with_name(f".{file.name}.keyturn"), ignore_errors=True)
        file.write_text(text)
        file.chmod(0o600)

    def _configure(self) -> None:
        told = self._configuration()
        self.config.write_text(json.dumps(told, indent=2))  # JSON is YAML
        self.late.write_text(json.dumps({**told, "sweep": {**told["sweep"], "stray_age": "1s"}}, indent=2))

    async def prepare(self) -> None:
        """Before each case."""
        self.environ["KEYTURN_CONFIG"] = str(self.config)
        await self.account.prepare(self)

    async def grow_old(self, seconds: float) -> None:
        """Every key of this world was made so much earlier. Where the vendor tells no age, whoever sweeps from here on takes
        every key for old instead."""
        await self.account.grow_old(seconds)
        if not self.account.ages:
            self.environ["KEYTURN_CONFIG"] = str(self.late)

    async def renew(self) -> None:
        """Whatever happened before: keys made by hand are current and served, and every other key of ours is gone."""
        await self.write_by_hand()
        wanted = await self.current()
        await self.fleet.renew(wanted)
        for key in await self.account.keys():
            if not key.deleted and key.fingerprint not in {*wanted.values(), *self.bystanders}:
                await self.account.delete(key)
        await self.account.clear(self)

    # As the driver sees it ----------------------------------------------------------------------------------------------

    async def held(self) -> dict[Spot, Held]:
        """What is CURRENT at every spot, past every gate; each document is read once."""
        documents = sorted({(spot.store, spot.path) for each in self.credentials for spot in each.spots})
        read = await asyncio.gather(*(self._document(*document) for document in documents))
        return {spot: held for document, found in zip(documents, read, strict=True) for spot, held in found.items()}

    async def _document(self, store: Kind, path: str) -> dict[Spot, Held]:
        spots = [spot for each in self.credentials for spot in each.spots if (spot.store, spot.path) == (store, path)]
        if store == "vault":
            found = await self.outside.vault("GET", f"secret/data/{path}")
            fields = dict(found["data"]["data"])
            texts = {spot: str(fields.pop(spot.field or WHOLE)) for spot in spots}
            beside = json.dumps(fields)
        elif store == "kube":
            found = await self.outside.kube("GET", f"/{path}")
            data = dict(found["data"])
            texts = {spot: base64.b64decode(data.pop(spot.field or WHOLE)).decode() for spot in spots}
            beside = json.dumps([data, found["metadata"]["labels"], found["type"]], sort_keys=True)
        elif store == "files":
            beside = self._file(path).read_text()
            texts = {}
            for spot in spots:
                texts[spot], beside = _taken_out(beside, spot.field)
        else:
            beside = str((await self.outside.aws("GetSecretValue", SecretId=path))["SecretString"])
            texts = {}
            for spot in spots:
                texts[spot] = beside if spot.field is None else field_text(beside, spot.field) or ""
                beside = "" if spot.field is None else with_field(beside, spot.field, MARKER)
        return {spot: Held(KeyMaterial(text).fingerprint(), beside) for spot, text in texts.items()}

    async def current(self) -> dict[str, str]:
        """What each credential's deciding secret holds: its fingerprint."""
        held = await self.held()
        return {each.name: held[each.spots[0]].fingerprint for each in self.credentials}


def _address(spot: Spot) -> dict[str, str]:
    return {"store": spot.store, "path": spot.path, **({"field": spot.field} if spot.field else {})}


def _variables(keys: dict[str, str]) -> str:
    """A file of variables as a person writes it."""
    lines = "\n".join(
        f"export {name}={value}" if n % 2 else f"{name}={value}" for n, (name, value) in enumerate(keys.items())
    )
    return f"# another team's\nOTHER=\"un touched\"\n\n{lines}\n  LAST='#1'   # no end of the line"


def _taken_out(text: str, field: str | None) -> tuple[str, str]:
    """The value, and the text with a mark in its place; read plainly, and not as keyturn does."""
    if field is None:
        return text.rstrip("\n"), MARKER
    [(before, value, after)] = re.findall(rf"\A(.*?^(?:export )?{field}=)([^\n]*)(.*)\Z", text, re.DOTALL | re.MULTILINE)
    return value, f"{before}{MARKER}{after}"


def _bundle(keys: dict[str, str]) -> str:
    """JSON as a person writes it: what parsing and printing would change must stay as it is."""
    fields = ",\n  ".join(f'"{name}" :  {json.dumps(value)}' for name, value in keys.items())
    return '{ "OTHER":"un\\u0074ouched",\n  "NUMBER": 1.50, ' + fields + ',\n\t"LAST": [ ] }\n'
