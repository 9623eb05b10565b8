"""What the HTTP listener takes from the settings: how much a client may ask, and TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bellcow.api.limits import HttpLimits
from bellcow.api.tls import make_context

if TYPE_CHECKING:
    import ssl

    from bellcow.config import model


def http_limits(limits: model.Limits) -> HttpLimits:
    return HttpLimits(
        handshake_s=limits.https_handshake_timeout.s or 5.0,
        connections_per_client=limits.http_max_conns_per_client,
    )


def http_context(tls: model.Tls) -> ssl.SSLContext | None:
    """None without TLS. Error(INVALID) names the file or the setting that is wrong."""
    if not tls.http:
        return None
    return make_context(
        tls.cert_file,
        tls.key_file,
        tls.ca_file,
        verify_client=tls.verify_https_client,
        min_version=tls.tls_min_version,
        ciphers=tls.tls_cipher_suites,
    )
