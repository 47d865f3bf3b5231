"""What the stand-in for Hetzner sells: a few types, locations and images, with made-up prices."""

from __future__ import annotations

from tests.fakes.clouds.server import Json

LOCATIONS: list[Json] = [
    {"id": 1, "name": "fsn1", "network_zone": "eu-central"},
    {"id": 2, "name": "nbg1", "network_zone": "eu-central"},
    {"id": 3, "name": "hel1", "network_zone": "eu-central"},
    {"id": 4, "name": "ash", "network_zone": "us-east"},
]
#: Name, architecture, cores, memory, price, and where it is sold.
TYPES = [
    ("cx23", "x86", 2, 4.0, "4.00", "fsn1 nbg1 hel1"),
    ("cx33", "x86", 4, 8.0, "6.50", "fsn1 nbg1 hel1"),
    ("cpx22", "x86", 2, 4.0, "8.00", "fsn1 nbg1 hel1"),
    ("cpx11", "x86", 2, 2.0, "5.50", "ash"),
    ("cax11", "arm", 2, 4.0, "4.50", "fsn1 hel1"),
    ("cax21", "arm", 4, 8.0, "8.50", "fsn1 hel1"),
]
IMAGES: list[Json] = [
    {"id": number, "name": name, "type": "system", "architecture": architecture}
    for number, name, architecture in [
        (201, "ubuntu-22.04", "x86"),
        (202, "ubuntu-24.04", "x86"),
        (203, "ubuntu-24.04", "arm"),
    ]
]


def build_price(net: str) -> Json:
    return {"net": f"{net}00000000", "gross": f"{float(net) * 1.19:.4f}"}


def build_types() -> list[Json]:
    return [
        {
            "id": 100 + number,
            "name": name,
            "architecture": architecture,
            "cores": cores,
            "memory": memory,
            "prices": [
                {"location": place, "price_monthly": build_price(price)} for place in places.split()
            ],
            "locations": [
                {
                    "id": one["id"],
                    "name": one["name"],
                    "deprecation": None,
                    "available": True,
                    "recommended": True,
                }
                for one in LOCATIONS
                if one["name"] in places.split()
            ],
        }
        for number, (name, architecture, cores, memory, price, places) in enumerate(TYPES)
    ]


def build_pricing() -> Json:
    return {
        "currency": "EUR",
        "primary_ips": [
            {
                "type": kind,
                "prices": [
                    {"location": one["name"], "price_monthly": build_price(price)}
                    for one in LOCATIONS
                ],
            }
            for kind, price in (("ipv4", "0.50"), ("ipv6", "0.00"))
        ],
        "volume": {"price_per_gb_month": build_price("0.04")},
    }
