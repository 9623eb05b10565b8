"""The licenses of a cluster that has installed none."""

from __future__ import annotations

from bellcow.gocompat.duration import NS_PER_S
from bellcow.gocompat.time import rfc3339
from bellcow.license.rules import _DAY_NS, ANY_INSTALLATION, PRODUCT
from bellcow.model.license import FEATURES, License

_TEMPORARY_NS = 6 * 3600 * NS_PER_S
_COMMUNITY_NS = 36_525 * _DAY_NS  # 100 years
_MODULES = ("governance-policy",)


def community(start_ns: int) -> License:
    """The license of a cluster without issuers: all features, for a hundred years."""
    return _built_in("community", "community", start_ns, _COMMUNITY_NS)


def temporary(start_ns: int) -> License:
    """The license of a new cluster with issuers, until one is installed; six hours."""
    return _built_in("temporary-license", "temporary license customer", start_ns, _TEMPORARY_NS)


def _built_in(license_id: str, customer_id: str, start_ns: int, lasts_ns: int) -> License:
    start, end = rfc3339(start_ns), rfc3339(start_ns + lasts_ns)
    return License(
        customer_id=customer_id,
        expiration_time=end,
        features=FEATURES,
        flags={"modules": list(_MODULES)},
        installation_id=ANY_INSTALLATION,
        issue_time=start,
        license_id=license_id,
        modules=_MODULES,
        product=PRODUCT,
        start_time=start,
        termination_time=end,
    )
