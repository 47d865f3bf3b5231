"""Servers rented of Scaleway: ``compute_provider: {scaleway: …}``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from nvoi.command import Command
from nvoi.config.schema import Application, ScalewayProvider
from nvoi.errors import ConfigError, Fault, NvoiError, RequestError
from nvoi.parallel import work_on_all
from nvoi.providers.host_keys import FIRST_HOST_KEY, HOST_KEY, build_host_key_labels
from nvoi.providers.provider import Disk, Server
from nvoi.providers.rented import (
    GROUP,
    Costs,
    WantedServer,
    build_disk_folder,
    build_server,
    build_surplus,
    list_open_ports,
    list_wanted,
)
from nvoi.providers.scaleway.api import (
    AGAIN,
    FIREWALL,
    KEY_PATH,
    NETWORK,
    SERVER,
    VOLUME,
    Resource,
    ScalewayAPI,
    find_type,
)
from nvoi.providers.scaleway.firewall import find_drift, list_rules
from nvoi.providers.scaleway.inventory import (
    Inventory,
    find_nic,
    find_public_ip,
    is_free,
    is_own,
    list_attached,
    read_inventory,
)
from nvoi.providers.scaleway.making import Maker, Order
from nvoi.providers.scaleway.offers import (
    CURRENCY,
    GB,
    ROOT_SIZE,
    TYPE_PATH,
    ZONES,
    Shelf,
    describe_shortage,
    find_image,
    find_type_fault,
    read_shelf,
)
from nvoi.providers.scaleway.removal import Remover
from nvoi.ssh.routes import read_routes
