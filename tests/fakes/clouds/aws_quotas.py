"""Quotas of an account at AWS as "GetServiceQuota" shows them; they are the same in all regions."""

from __future__ import annotations

from typing import Any

STANDARD, NETWORKS, DISKS = "L-1216C47A", "L-F678F1CE", "L-7A658B76"
NAMES = {
    STANDARD: ("ec2", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    NETWORKS: ("vpc", "VPCs per Region"),
    DISKS: ("ebs", "Storage for General Purpose SSD (gp3) volumes, in TiB"),
}
#: What an account has that has been used for a while.
VALUES = {STANDARD: 640.0, NETWORKS: 10.0, DISKS: 50.0}


def build_quota(service: str, code: str, value: float) -> dict[str, Any] | None:
    """One of a service; None where it has none of this code."""
    if (found := NAMES.get(code)) is None or found[0] != service:
        return None
    return {
        "ServiceCode": service,
        "QuotaCode": code,
        "QuotaName": found[1],
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }
