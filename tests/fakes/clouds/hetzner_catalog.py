"""What the stand-in for Hetzner sells: a few types, locations and images, with made-up prices."""

from __future__ import annotations

from tests.fakes.clouds.server import Json

LOCATIONS: list[Json] = [
    {
        "id": number,
        "name": name,
        "description": f"{city} DC Park 1",
        "country": country,
        "city": city,
        "latitude": 50.0,
        "longitude": 12.0,
        "network_zone": zone,
    }
    for number, name, city, country, zone in [
        (1, "fsn1", "Falkenstein", "DE", "eu-central"),
        (2, "nbg1", "Nuremberg", "DE", "eu-central"),
        (3, "hel1", "Helsinki", "FI", "eu-central"),
        (4, "ash", "Ashburn", "US", "us-east"),
    ]
]
#: Name, architecture, cores, memory, disk, price, and where it is sold.
TYPES = [
    ("cx23", "x86", 2, 4.0, 40, "4.00", "fsn1 nbg1 hel1"),
    ("cx33", "x86", 4, 8.0, 80, "6.50", "fsn1 nbg1 hel1"),
    ("cpx22", "x86", 2, 4.0, 80, "8.00", "fsn1 nbg1 hel1"),
    ("cpx11", "x86", 2, 2.0, 40, "5.50", "ash"),
    ("cax11", "arm", 2, 4.0, 40, "4.50", "fsn1 hel1"),
    ("cax21", "arm", 4, 8.0, 80, "8.50", "fsn1 hel1"),
]


def build_price(net: str) -> Json:
    return {"net": f"{net}00000000", "gross": f"{float(net) * 1.19:.4f}"}


def build_types() -> list[Json]:
    return [
        {
            "id": 100 + number,
            "name": name,
            "description": name.upper(),
            "category": "Shared vCPU",
            "architecture": architecture,
            "cores": cores,
            "memory": memory,
            "disk": disk,
            "storage_type": "local",
            "cpu_type": "shared",
            "deprecated": False,
            "deprecation": None,
            "prices": [
                {
                    "location": place,
                    "price_hourly": build_price("0.01"),
                    "price_monthly": build_price(price),
                    "included_traffic": 20_000_000_000_000,
                    "price_per_tb_traffic": build_price("1.00"),
                }
                for place in places.split()
            ],
            "locations": [
                {
                    "id": next(one["id"] for one in LOCATIONS if one["name"] == place),
                    "name": place,
                    "deprecation": None,
                    "available": True,
                    "recommended": True,
                }
                for place in places.split()
            ],
        }
        for number, (name, architecture, cores, memory, disk, price, places) in enumerate(TYPES)
    ]


def build_pricing() -> Json:
    types = build_types()
    return {
        "currency": "EUR",
        "vat_rate": "19.000000",
        "image": {"price_per_gb_month": build_price("0.01")},
        "floating_ip": {"price_monthly": build_price("1.00")},
        "floating_ips": [],
        "load_balancer_types": [],
        "primary_ips": [
            {
                "type": kind,
                "prices": [
                    {
                        "location": one["name"],
                        "price_hourly": build_price("0.01"),
                        "price_monthly": build_price(price),
                    }
                    for one in LOCATIONS
                ],
            }
            for kind, price in (("ipv4", "0.50"), ("ipv6", "0.00"))
        ],
        "server_backup": {"percentage": "20.0000000000"},
        "server_types": [
            {"id": one["id"], "name": one["name"], "prices": one["prices"]} for one in types
        ],
        "volume": {"price_per_gb_month": build_price("0.04")},
    }


IMAGES: list[Json] = [
    {
        "id": number,
        "name": name,
        "type": "system",
        "status": "available",
        "description": name,
        "image_size": None,
        "disk_size": 5,
        "created": created,
        "created_from": None,
        "bound_to": None,
        "os_flavor": "ubuntu",
        "os_version": name.partition("-")[2],
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": architecture,
    }
    for number, name, created, architecture in [
        (201, "ubuntu-22.04", "2022-04-21T13:32:38Z", "x86"),
        (202, "ubuntu-24.04", "2024-04-25T13:26:27Z", "x86"),
        (203, "ubuntu-24.04", "2024-04-25T13:26:51Z", "arm"),
    ]
]
