"""What Scaleway sells in each zone, as its API shows it."""

from __future__ import annotations

from tests.fakes.clouds.server import Json

PLACES = ("fr-par", "nl-ams", "pl-waw")
ZONES = (*(f"{place}-{number}" for place in PLACES for number in (1, 2, 3)), "it-mil-1")
GIB = 2**30
#: The name, architecture, cores, GiB and EUR an hour of types, and those that are no longer sold.
TYPES = (
    ("DEV1-S", "x86_64", 2, 2, 0.008976),
    ("DEV1-M", "x86_64", 3, 4, 0.020196),
    ("DEV1-L", "x86_64", 4, 8, 0.042),
    ("PLAY2-PICO", "x86_64", 1, 2, 0.01428),
    ("BASIC2-A2C-4G", "arm64", 2, 4, 0.023),
    ("BASIC2-A4C-8G", "arm64", 4, 8, 0.0459),
    ("VC1S", "x86_64", 2, 2, 0.006),
)
ENDED = {"VC1S"}
LABEL, IMAGE_NAME = "ubuntu_noble", "Ubuntu 24.04 Noble Numbat"
#: Images by architecture, in each zone the same.
IMAGES = {
    "x86_64": "0b4d4b4c-6f2a-4c31-9d5e-1f0c6c7f2a01",
    "arm64": "0b4d4b4c-6f2a-4c31-9d5e-1f0c6c7f2a02",
}
VOLUME_TYPES = tuple(
    {"type": name, "pricing": {"currency_code": "EUR", "units": 0, "nanos": nanos}}
    for name, nanos in (("sbs_5k", 118000), ("sbs_15k", 177000))
)


def build_types() -> dict[str, Json]:
    return {
        name: {
            "alt_names": [],
            "arch": architecture,
            "ncpus": cores,
            "ram": memory * GIB,
            "gpu": 0,
            "hourly_price": hourly,
            "monthly_price": round(hourly * 730, 5),
            "end_of_service": name in ENDED,
            "volumes_constraint": {"min_size": 0, "max_size": 0},
            "capabilities": {"boot_types": ["local", "rescue"], "block_storage": True},
        }
        for name, architecture, cores, memory, hourly in TYPES
    }


def build_images(zone: str, types: dict[str, Json]) -> list[Json]:
    return [
        {
            "id": IMAGES[architecture],
            "arch": architecture,
            "zone": zone,
            "compatible_commercial_types": [
                name for name, one in types.items() if one["arch"] == architecture
            ],
            "label": LABEL,
            "type": "instance_sbs",
        }
        for architecture in IMAGES
    ]
