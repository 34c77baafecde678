"""What a supervisor is told, looked at before anything is started: can it work at all?"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence

from keyturn.delivery.environment import overridden
from keyturn.delivery.keys import Variable
from keyturn.errors import MisconfiguredError

log = logging.getLogger(__name__)


def demand_fit(
    command: Sequence[str], variables: Sequence[Variable], inherited: Mapping[str, str], *, in_files: bool
) -> None:
    """MisconfiguredError for what cannot work; a warning for variables of the environment that are overridden."""
    names = [name for variable in variables for name in variable.names.variables]
    if not names:
        raise MisconfiguredError("no credential is served by this proxy", remedy="name it in a credential's `proxies`")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MisconfiguredError(
            f"two credentials would be delivered as {', '.join(twice)}", remedy="give each its own `env` in keyturn.yaml"
        )
    if not command or shutil.which(command[0], path=inherited.get("PATH")) is None:
        raise MisconfiguredError(
            "the program to supervise is not there", remedy="name it after --, with its path if it is not on $PATH"
        )
    if in_files and (several := [each.credential for each in variables if each.parts]):
        raise MisconfiguredError(
            f"the key of {', '.join(several)} has several parts: LiteLLM reads none of them from a file, and two files "
            "cannot be replaced at one moment",
            remedy="leave out --deliver file for these proxies, or give the key to others that are restarted",
        )
    for sentence in overridden(inherited, names):
        log.warning("%s", sentence)
