"""Prefect as docker-compose.yml has it in the profile `large`: PostgreSQL, Redis, two servers, the background services
apart, and in front of them Caddy with TLS. The same programs with the same settings; ports and folders are the test's."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import ssl
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyturn.testing import programs
from keyturn.testing.postgres import Postgres
from keyturn.testing.processes import Processes, free_port, wait_for_http
from keyturn.testing.redis import start_redis

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
READY_SECONDS = 240


class Replicas:
    """`environ` is what a client needs; `url` the front's address, `servers` those behind it."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.processes, self.folder = processes, folder
        folder.mkdir()
        self.postgres = Postgres(processes, "replicas-postgres")
        self.login = ("admin", secrets.token_hex(16))
        redis = start_redis(processes, folder / "redis")
        self._shared = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.postgres.url,
            **programs.REPLICATED,
            **redis,
            "PREFECT_SERVER_API_AUTH_STRING": ":".join(self.login),
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_API_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        subprocess.run(
            programs.installed(programs.PREFECT_MIGRATION), env=self._of("migration"), check=True, capture_output=True
        )
        # Both at once, as after a restart of the host.
        self.servers = [self._start_server(1), self._start_server(2, programs.NOT_THE_FIRST)]
        processes.start("services", programs.installed(programs.PREFECT_SERVICES), env=self._of("services"))
        for number, url in enumerate(self.servers, 1):
            wait_for_http(f"{url}/api/ready", seconds=READY_SECONDS, process=processes.running[f"prefect-{number}"])
        self._start_front()

    def _of(self, name: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """A home for each, for each is a container of its own."""
        return {**os.environ, **self._shared, "PREFECT_HOME": str(self.folder / name), **(more or {})}

    def _start_server(self, number: int, more: Mapping[str, str] | None = None) -> str:
        port, name = free_port(), f"prefect-{number}"
        words = programs.installed(programs.prefect_replica("127.0.0.1", port))
        self.processes.start(name, words, env=self._of(name, more))
        return f"http://127.0.0.1:{port}"

    def _start_front(self) -> None:
        self.authority = self.folder / "ca.crt"
        certificate, key = certified(self.folder, self.authority)
        tls, plain = free_port(), free_port()
        environ = {
            "PREFECT_SERVERS": " ".join(url.removeprefix("http://") for url in self.servers),
            "PREFECT_TLS_PORT": str(tls),
            "PREFECT_PORT": str(plain),
            "INCIDENTS_TLS_PORT": str(free_port()),
            "TLS_CERTIFICATE": str(certificate),
            "TLS_KEY": str(key),
            **{name: str(self.folder / "caddy") for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")},
        }
        words = programs.installed(programs.caddy(DEPLOYMENTS / "Caddyfile.front"))
        process = self.processes.start("front", words, env=environ)
        wait_for_http(f"http://127.0.0.1:{plain}/api/health", seconds=60, process=process)
        self.url, self._plain = f"https://127.0.0.1:{tls}", f"http://127.0.0.1:{plain}"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_API_AUTH_STRING": ":".join(self.login),
            "PREFECT_API_SSL_CERT_FILE": str(self.authority),
            "PREFECT_HOME": str(self.folder / "client"),
        }

    @property
    def environ_beside(self) -> dict[str, str]:
        """Of a client on the network that nothing else is in, as the workers of docker-compose.yml."""
        return {"PREFECT_API_URL": f"{self._plain}/api", "PREFECT_API_AUTH_STRING": ":".join(self.login)}

    def stop(self) -> None:
        for name in ("front", "services", "prefect-2", "prefect-1", "redis", "replicas-postgres"):
            with suppress(KeyError):
                self.processes.stop(name, grace=20)
        self.postgres.remove()


def client(url: str, replicas: Replicas, **options: Any) -> httpx.Client:
    trusted = ssl.create_default_context(cafile=replicas.authority)
    options = {"auth": replicas.login, "verify": trusted, "trust_env": False, "timeout": 60, **options}
    return httpx.Client(base_url=f"{url}/api", **options)


def changing(http: httpx.Client) -> dict[str, str]:
    """The headers of a call that changes something: CSRF protection is on."""
    name = str(uuid.uuid4())
    token = http.get("/csrf-token", params={"client": name}).raise_for_status().json()["token"]
    return {"Prefect-Csrf-Client": name, "Prefect-Csrf-Token": token}


def certified(folder: Path, authority: Path) -> tuple[Path, Path]:
    """A certificate for loopback and its key, by an authority that is made for it and written to `authority`."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def builder(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        made = x509.CertificateBuilder(issuer_name=issuer, subject_name=name, public_key=public)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))

    root = builder("authority of a test", ca_key.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = builder("front", key.public_key()).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    authority.write_bytes(root.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    certificate, its_key = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    unencrypted = serialization.NoEncryption()
    its_key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted))
    return certificate, its_key
