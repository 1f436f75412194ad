"""Names of actors in the audit trail: who did something, by a name that nobody else can take.

| name | who |
| --- | --- |
| `sara` | a user who signed in, or an address that the OpenID provider has verified |
| `oidc:…` | somebody the provider knows by an id only |
| `token:…` | a token |
| `cli:root`, `cli:root (sara)` | the system's user at a command line or notebook, and the name declared there |
| `report:root (sara)` | the same for a report, and who had it run |
| `scheduler`, `producer`, `worker`, `demo`, `host:pid` | the system itself |

Users' names hold no colon, and none is one of the system's. A declared name is a claim, so it stands in brackets.
"""

from __future__ import annotations

import os
import pwd
from typing import Final

from teknav_ops.access.user_names import name_key
from teknav_ops.errors import InvalidRequest
from teknav_ops.one_line import is_one_line

#: What the system itself goes by.
SYSTEM_ACTORS: Final = frozenset({"scheduler", "producer", "worker", "demo", "anonymous", "system"})
#: Signs that let a text be read in another order.
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: The mark of names that the system gives, and the brackets, besides.
_MISLEADING: Final = _DIRECTIONS | frozenset(":()")
_UNREADABLE: Final = "\ufffd"
_MOST_CHARACTERS: Final = 200
_MOST_DECLARED: Final = 100


def check_actor(name: str) -> None:
    """Raises InvalidRequest unless this is one line of text."""
    if not isinstance(name, str) or not 1 <= len(name) <= _MOST_CHARACTERS or not is_one_line(name):
        raise InvalidRequest(f"actor: must be one line of 1 to {_MOST_CHARACTERS} characters")


def local_actor(declared: str | None, *, is_report: bool) -> str:
    """Who acts from this machine: always the operating system's user, and what was declared beside it.

    A report is started by our own process, which declares who had it run.

    Raises:
        InvalidRequest: what was declared is no name.
    """
    found = f"{'report' if is_report else 'cli'}:{system_user()}"
    if not declared:
        return found
    if is_report:
        return f"{found} ({_one_line(declared)})"
    _check_declared(declared)
    return f"{found} ({declared})"


def _check_declared(name: str) -> None:
    if len(name) > _MOST_DECLARED or name != name.strip() or not is_one_line(name):
        raise InvalidRequest(f"TEKNAV_OPERATOR: must be one line of {_MOST_DECLARED} characters at most")
    wrong = sorted(_MISLEADING & set(name))
    if wrong:
        raise InvalidRequest(
            f"TEKNAV_OPERATOR: must not hold {wrong[0]!r}: names such as `token:…` and `cli:…` are given by the system"
        )


def system_user() -> str:
    """The user that this process runs as, by the system's own list: LOGNAME and USER are anybody's words."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"
    return _one_line(name)


def provider_actor(address: str, subject: str) -> str:
    """Somebody the OpenID provider vouches for, by address or else by its own id of them."""
    local, _, host = address.partition("@")
    is_address = local and host and is_one_line(address) and not set(address) & set(" :()<>,;")
    if is_address and len(address) <= _MOST_DECLARED:
        return address
    readable = (_UNREADABLE if sign in _DIRECTIONS else sign for sign in _one_line(subject))
    return f"oidc:{''.join(readable)}"


def is_system_actor(name: str) -> bool:
    """Whether the system itself goes by this name."""
    return name_key(name) in SYSTEM_ACTORS


def _one_line(text: str) -> str:
    return "".join(sign if is_one_line(sign) else _UNREADABLE for sign in text)[:_MOST_DECLARED]
