"""Reads DATABASE_URL as providers of PostgreSQL print it for libpq and for other clients.

Sources: "Connection URIs" and "Parameter Key Words" of libpq's documentation (PostgreSQL 18), and the parameters that
Prisma, JDBC, node-postgres, SQLAlchemy, Rails and Doctrine add. asyncpg passes each parameter that it does not know to
the server, which refuses the connection; so here each is taken, left out, or refused by its name.
"""

from __future__ import annotations

import getpass
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

DEFAULT_CONNECT_SECONDS = 3.0
_MOST_CONNECT_SECONDS = 60.0
_MOST_CHARACTERS = 8_192
_PORT = 5432

_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")
_FOR_ASYNCPG = frozenset(
    {
        "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation",
        "ssl_min_protocol_version", "ssl_max_protocol_version", "passfile", "service", "krbsrvname", "gsslib",
    }
)  # fmt: skip
"""Parameters that asyncpg understands as libpq does."""
_FOR_SERVER = frozenset(
    {
        "options", "application_name", "search_path", "timezone", "statement_timeout", "lock_timeout",
        "idle_in_transaction_session_timeout",
    }
)  # fmt: skip
"""Sent to the server, as settings of the session."""
_HERE = frozenset(
    {
        "host", "port", "dbname", "database", "user", "password", "connect_timeout", "target_session_attrs",
        "fallback_application_name", "schema", "currentschema", "ssl",
    }
)  # fmt: skip
"""Read here, `Dsn.options`."""
_LEFT_OUT = frozenset(
    {
        # libpq's, without effect on which server is reached and who it believes to speak with
        "channel_binding", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout", "gssencmode", "gssdelegation", "sslcompression", "sslcertmode", "sslsni",
        "client_encoding", "load_balance_hosts", "min_protocol_version", "max_protocol_version",
        # other clients'
        "pgbouncer", "connection_limit", "pool_timeout", "pool_size", "pool", "pool_mode", "max_overflow",
        "checkout_timeout", "socket_timeout", "timeout", "statement_cache_size", "prepared_statement_cache_size",
        "prepared_statements", "preparethreshold", "sslaccept", "sslidentity", "uselibpqcompat", "supa", "workaround",
        "reconnect", "encoding", "charset", "serverversion", "async_fallback", "tcpkeepalive", "sockettimeout",
        "logintimeout", "connecttimeout", "targetservertype", "applicationname", "max_connections", "max_conns",
        "pool_max_conns", "pool_min_conns", "default_query_exec_mode", "adapter",
    }
)  # fmt: skip
_SESSIONS = frozenset({"any", "read-write", "primary"})
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_SSL_ALIASES = {"no-verify": "require", "true": "require", "1": "require", "on": "require", "false": "disable"}
"""``ssl=true`` of JDBC and node-postgres, and the latter's ``sslmode=no-verify``."""
_FORM = "it is of the form postgresql://user:password@host:5432/name"


class DsnError(ValueError):
    """DATABASE_URL cannot be used. One line that names the part, and never the password or any other value of it."""


@dataclass(frozen=True, slots=True)
class Dsn:
    """A database's address, as asyncpg takes it."""

    options: Mapping[str, Any] = field(repr=False)
    """Keyword arguments of ``asyncpg.connect`` and ``asyncpg.create_pool``."""
    connect_seconds: float = DEFAULT_CONNECT_SECONDS
    """``connect_timeout``: to make one connection."""
    left_out: tuple[str, ...] = ()
    """Parameters without effect here."""


def parse(text: str, variable: str = "DATABASE_URL") -> Dsn:
    """Read a URL. ``variable`` is what messages call it. Raises DsnError."""
    try:
        return _parsed(text.strip())
    except DsnError as error:
        raise DsnError(f"{variable}: {error}") from None
    except (ValueError, OSError):  # the text of such an error may quote a part of the URL
        raise DsnError(f"{variable} cannot be read: {_FORM}") from None


def _parsed(text: str) -> Dsn:
    scheme, separator, rest = text.partition("://")
    if len(text) > _MOST_CHARACTERS:
        raise DsnError(f"it is longer than {_MOST_CHARACTERS} characters")
    if text[:1] in ("'", '"'):
        raise DsnError("it begins with a quotation mark: leave the quotation marks out")
    # SQLAlchemy names its driver behind a plus sign.
    if not separator or scheme.lower().partition("+")[0] not in ("postgresql", "postgres"):
        raise DsnError(f"it does not begin with postgresql://: {_FORM}")
    if not text.isprintable() or "#" in rest:
        raise DsnError("a # or an unprintable character is in it: in a user or password write it in percent-encoding")
    address, _, query = rest.partition("?")
    authority, slash, path = address.partition("/")
    login, at, hosts = authority.rpartition("@")
    if "@" in path or (not at and "@" in query):
        raise DsnError("a / or ? is in the user or password: write it as %2F or %3F")
    parameters = _parameters(query)
    user, colon, password = login.partition(":")
    options: dict[str, Any] = {
        "user": parameters.get("user") or unquote(user) or _operating_system_user(),
        "password": parameters.get("password") or (unquote(password) if colon else None),
        "database": parameters.get("dbname") or parameters.get("database") or unquote(path if slash else "") or None,
        **_hosts(parameters.get("host") or hosts, parameters.get("port", "")),
        **_session(parameters),
        **_tls(parameters),
    }
    if len(options.get("host") or ()) > 1:
        # Of several hosts at most one takes writes.
        options.setdefault("target_session_attrs", "read-write")
    left_out = tuple(sorted(name for name in parameters if name.lower() in _LEFT_OUT))
    return Dsn(options, _connect_seconds(parameters.get("connect_timeout", "")), left_out)


def _parameters(query: str) -> dict[str, str]:
    parameters = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    known = _FOR_ASYNCPG | _FOR_SERVER | _HERE | _LEFT_OUT
    for name in parameters:
        if name.lower() not in known:
            # Not left out: it may have been meant to restrict what the connection is used for.
            shown = name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,40}", name) else "a parameter"
            raise DsnError(f"{shown} is not understood here: leave it out, or correct its name")
    # An empty value is libpq's default. Clients differ in capitals, names do not differ by them.
    return {name if name.lower() in _LEFT_OUT else name.lower(): value for name, value in parameters.items() if value}


def _hosts(text: str, ports: str) -> dict[str, object]:
    if not text:
        return {"port": _port(ports)} if ports else {}
    # A folder of sockets may have colons in its name: /cloudsql/project:region:instance
    pairs = [(host, "") if host.startswith("/") else _host_and_port(host) for host in map(unquote, text.split(","))]
    given = ports.split(",")
    if len(given) not in (1, len(pairs)):
        raise DsnError("port names another number of ports than there are hosts")
    given = given * len(pairs) if len(given) == 1 else given
    hosts = [host or "localhost" for host, _ in pairs]
    for host in hosts:
        if not host.startswith("/"):
            _check_name(host)
    return {"host": hosts, "port": [_port(own or other) for (_, own), other in zip(pairs, given, strict=True)]}


def _check_name(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise DsnError("a host's name is no valid name") from None


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise DsnError("a host's name begins with [ and has no ]")
        return host, rest.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _port(text: str) -> int:
    if not text:
        return int(os.environ.get("PGPORT", "") or _PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65_536):
        raise DsnError("the port is no number up to 65535; or a @, : or / in the password is not in percent-encoding")
    return int(text)


def _session(parameters: Mapping[str, str]) -> dict[str, object]:
    settings = {name: value for name, value in parameters.items() if name in _FOR_SERVER}
    if schema := parameters.get("schema") or parameters.get("currentschema"):
        settings.setdefault("search_path", schema)
    settings.setdefault("application_name", parameters.get("fallback_application_name", "yurt"))
    wanted = parameters.get("target_session_attrs", "")
    if wanted and wanted not in _SESSIONS:
        raise DsnError("target_session_attrs has to be read-write, primary or any, since Yurt writes")
    return {"server_settings": settings, **({"target_session_attrs": wanted} if wanted else {})}


def _tls(parameters: Mapping[str, str]) -> dict[str, object]:
    """What asyncpg reads from a URL alone stays in one; all else is given by name."""
    own = {name: value for name, value in parameters.items() if name in _FOR_ASYNCPG}
    mode = own.get("sslmode") or parameters.get("ssl", "")
    mode = _SSL_ALIASES.get(mode.lower(), mode)
    if mode and mode not in _SSL_MODES:
        raise DsnError(f"sslmode has to be one of {', '.join(sorted(_SSL_MODES))}")
    system = own.get("sslrootcert") == "system"
    for name in _FILES:
        if name in own and not (system and name == "sslrootcert") and not os.access(own[name], os.R_OK):
            raise DsnError(f"{name} names a file that cannot be read")
    if system:
        return _trusting_the_system(own, mode)
    if mode:
        own["sslmode"] = mode
    return {"dsn": f"postgresql://?{urlencode(own)}"} if own else {}


def _trusting_the_system(own: Mapping[str, str], mode: str) -> dict[str, object]:
    """``sslrootcert=system``, which libpq allows with ``verify-full`` alone."""
    if mode not in ("", "verify-full"):
        raise DsnError("sslrootcert=system needs sslmode=verify-full")
    context = ssl.create_default_context()
    if "sslcert" in own:
        context.load_cert_chain(own["sslcert"], own.get("sslkey"), own.get("sslpassword"))
    return {"ssl": context, "direct_tls": own.get("sslnegotiation") == "direct"}


def _connect_seconds(text: str) -> float:
    if not text:
        return DEFAULT_CONNECT_SECONDS
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise DsnError("connect_timeout is no number of seconds")
    # 0 is libpq's "for ever".
    return min(float(text) or _MOST_CONNECT_SECONDS, _MOST_CONNECT_SECONDS)


def _operating_system_user() -> str | None:
    """libpq's default. None where it is in the environment, or in a service's file."""
    if os.environ.get("PGUSER") or os.environ.get("PGSERVICE"):
        return None
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise DsnError(f"it names no user, and user id {os.geteuid()} has no name here") from None
