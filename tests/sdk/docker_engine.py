"""PyPI docker 7.2.0: see the package's text. It does what a roll does, at the engine of $ENGINE."""

import io
import json
import os
import sys
import tarfile

import docker
from docker.errors import APIError, NotFound
from docker.types import EndpointConfig, NetworkingConfig


def packed(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


client = docker.DockerClient(base_url=os.environ["ENGINE"], version="auto")
api = client.api
client.networks.create("back")
networking = NetworkingConfig({"front": EndpointConfig(api._version, aliases=["proxy"])})
client.networks.create("front")
made = api.create_container(
    "litellm:1",
    [sys.executable, "-S", "-c", "import time; time.sleep(600)"],
    name="member",
    environment={"OPENAI_API_KEY": "one", "OTHER": "x"},
    labels={"app": "llm"},
    stop_signal="SIGTERM",
    healthcheck={"test": ["CMD", "true"]},
    host_config=api.create_host_config(network_mode="front", restart_policy={"Name": "unless-stopped"}),
    networking_config=networking,
)
member = client.containers.get(made["Id"])
client.networks.get("back").connect(member)
member.start()
member.reload()
running = member.status
member.put_archive("/run", packed("note", b"written"))
stream, told = member.get_archive("/run/note")
with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
    read = tar.extractfile("note").read().decode()
try:
    member.get_archive("/run/nothing")
except NotFound:
    nothing = True
first = member.attrs["State"]["StartedAt"]
member.restart(timeout=5)
member.reload()
again = member.attrs["State"]
try:
    member.remove()
except APIError as error:
    refused = error.response.status_code
try:
    api.create_container("litellm:1", name="member")
except APIError as error:
    taken = error.response.status_code
other = client.containers.create("litellm:1", ["true"], name="other", labels={"app": "llm"})
listed = sorted(each.name for each in client.containers.list(all=True, filters={"label": "app=llm"}))
up = sorted(each.name for each in client.containers.list(filters={"label": ["app=llm"]}))
member.stop(timeout=5)
member.remove()
other.rename("member")
other.reload()

json.dump(
    {
        "version": api._version,
        "running": running,
        "networks": sorted(member.attrs["NetworkSettings"]["Networks"]),
        "aliases": "proxy" in member.attrs["NetworkSettings"]["Networks"]["front"]["Aliases"],
        "environment": sorted(member.attrs["Config"]["Env"]),
        "read": read,
        "told": told["name"],
        "nothing": nothing,
        "restarted": first < again["FinishedAt"] < again["StartedAt"],
        "refused": refused,
        "taken": taken,
        "listed": listed,
        "up": up,
        "image": client.images.get("litellm:1").id == member.attrs["Image"],
        "left": [each.name for each in client.containers.list(all=True)],
    },
    sys.stdout,
)
