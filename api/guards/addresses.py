"""Addresses: which are this machine's own, and which count as one client."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_IPV6_SITE_BITS: Final = 64
"""A host is given so many bits of addresses of its own: they are one client."""


def listens_locally(host: str) -> bool:
    """Say whether only this machine reaches what listens there; a name that is not known counts as reachable."""
    return host.lower() in ("localhost", "ip6-localhost") or is_loopback(host)


@functools.lru_cache(4_096)
def is_loopback(address: str) -> bool:
    """Say whether an IP address is a loopback one; what is no IP address is not."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


@functools.lru_cache(4_096)
def is_ip(address: str) -> bool:
    """Say whether a text is an IP address; a Unix socket's path and a test's own transport are not."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def client_of(scope: Mapping[str, Any]) -> str:
    """Return the name under which a client's requests are counted."""
    client = scope.get("client")
    return _site(client[0]) if client else "local"


@functools.lru_cache(4_096)
def _site(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], _IPV6_SITE_BITS), strict=False).network_address)
    except ValueError:
        return address
