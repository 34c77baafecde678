"""What the command line offers to choose from."""

from enum import StrEnum


class Style(StrEnum):
    """How `keyturn env` prints."""

    shell = "shell"
    dotenv = "dotenv"
    json = "json"
    compose = "compose"
    k8s = "k8s"


class Kind(StrEnum):
    """A kind of store that has permissions to print."""

    aws = "aws"
    vault = "vault"
    kubernetes = "kubernetes"


class Who(StrEnum):
    """Whose permissions."""

    rotator = "rotator"
    proxy = "proxy"


class Delivery(StrEnum):
    """How a program gets its keys."""

    environment = "environment"
    file = "file"


class Renderer(StrEnum):
    """What renders keys as a file."""

    agent = "agent"
    injector = "injector"
    eso = "eso"
    vso = "vso"


class Report(StrEnum):
    """How `keyturn lint` prints."""

    human = "human"
    sarif = "sarif"
    json = "json"


class Level(StrEnum):
    """How bad a finding is."""

    error = "error"
    warning = "warning"
    note = "note"
