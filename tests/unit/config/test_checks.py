from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from nvoi.config.ssh_keys import generate_ssh_keys
from nvoi.providers.rented import list_open_ports
from tests.unit.config.texts import fault, faults, hetzner, keys, local, parse, ssh

# SSH keys

BEGIN, END = (f"-----{word} OPENSSH PRIVATE KEY-----" for word in ("BEGIN", "END"))


def test_servers_need_an_ssh_key_pair_and_this_machine_does_not() -> None:
    line = "  ssh_keys: {private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}\n"
    for text in (hetzner(), ssh("servers: {a: {host: h}}")):
        assert line in text
        assert fault(text.replace(line, "")).startswith("application.ssh_keys: is required")
    assert faults(local()) == []


def test_a_pair_that_does_not_belong_together_is_refused() -> None:
    other = generate_ssh_keys("other").public_key
    found = fault(hetzner(), PUBLIC_KEY=other)
    assert found == "application.ssh_keys.public_key: is not the public half of private_key"


@pytest.mark.parametrize("value", ["text", "\n", "é", f"{BEGIN}\nAAAA\n{END}"])
def test_a_private_key_that_is_none_is_refused(value: str) -> None:
    assert fault(hetzner(), PRIVATE_KEY=value).startswith("application.ssh_keys.private_key: ")


def test_a_key_of_another_kind_or_with_a_passphrase_is_refused() -> None:
    ecdsa = ec.generate_private_key(ec.SECP256R1())
    locked = ed25519.Ed25519PrivateKey.generate()
    for key, lock in (
        (ecdsa, form.NoEncryption()),
        (locked, form.BestAvailableEncryption(b"phrase")),
    ):
        text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, lock).decode()
        found = fault(hetzner(), PRIVATE_KEY=text)
        assert found.startswith("application.ssh_keys.private_key: must be an Ed25519 private key")
    public = ecdsa.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    found = fault(hetzner(), PUBLIC_KEY=public.decode())
    assert found.startswith("application.ssh_keys.public_key: must be an Ed25519 public key")


def test_keys_have_the_line_ends_that_they_need_and_no_more() -> None:
    public = keys()["PUBLIC_KEY"]
    private = keys()["PRIVATE_KEY"].strip()
    found = parse(hetzner(), PRIVATE_KEY=private, PUBLIC_KEY=f"{public}\n").application.ssh_keys
    assert found is not None
    assert found.private_key.reveal() == keys()["PRIVATE_KEY"]
    assert found.public_key == public


# Domains


CLOUDFLARE = "cloudflare: {api_token: cf-tok, account_id: acc}"
INGRESS = "ingress: {email: ops@example.com}"


WITH_A_DOMAIN = "app: {web: {servers: [main], port: 80, domain: example.com}}"


def test_a_domain_needs_a_provider_and_a_port_where_servers_serve_it() -> None:
    text = hetzner(WITH_A_DOMAIN)
    line = f"  domain_provider: {{{CLOUDFLARE}}}\n"
    assert faults(text) == []
    assert fault(text.replace(line, "")) == (
        "application.app.web.domain: application.domain_provider.cloudflare or "
        "application.domain_provider.ingress is required to serve a domain"
    )
    assert faults(text.replace(CLOUDFLARE, INGRESS)) == []
    assert fault(text.replace(CLOUDFLARE, f"{CLOUDFLARE}, {INGRESS}")) == (
        "application.domain_provider: exactly one of cloudflare, ingress is needed"
    )
    assert fault(text.replace("port: 80, ", "")) == (
        "application.app.web.domain: a `port` is required to serve a domain"
    )
    assert faults(local("app: {web: {domain: example.com}}")) == []


def test_the_ingress_is_used_where_a_service_has_a_domain() -> None:
    text = hetzner(WITH_A_DOMAIN)
    assert not parse(text).application.uses_ingress
    text = text.replace(CLOUDFLARE, INGRESS)
    application = parse(text).application
    assert application.uses_ingress
    assert list_open_ports(application) == (22, 80, 443)
    application = parse(text.replace("domain: example.com", "")).application
    assert not application.uses_ingress
    assert list_open_ports(application) == (22,)


@pytest.mark.parametrize("email", ["x", "@example.com", "a@b", "a b@example.com", "<a@b.cc>"])
def test_the_ingress_needs_an_address_of_e_mail(email: str) -> None:
    found = fault(hetzner().replace(CLOUDFLARE, f"ingress: {{email: '{email}'}}"))
    assert found == (
        "application.domain_provider.ingress.email: must be an e-mail address, such as "
        "admin@example.com"
    )
    missing = fault(hetzner().replace(CLOUDFLARE, "ingress: {}"))
    assert missing == "application.domain_provider.ingress.email: is required"


def test_certificates_come_from_lets_encrypt_unless_another_authority_is_named() -> None:
    def read(text: str) -> str:
        ingress = parse(hetzner().replace(CLOUDFLARE, text)).application.ingress
        assert ingress is not None
        return ingress.directory_url

    assert read(INGRESS) == "https://acme-v02.api.letsencrypt.org/directory"
    other = "https://acme.example.com/directory"
    assert read(INGRESS.replace("}", f", directory_url: '{other}'}}")) == other


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("", "", True),
        ("'@'", "", True),
        ("'@'", "'*'", True),
        ("www", "WWW", True),
        ("'*'", "'*'", True),
        ("www", "api", False),
        ("'@'", "www", False),
        ("'*'", "www", False),
    ],
)
def test_two_services_never_share_a_host_name(first: str, second: str, shared: bool) -> None:
    services = (
        f"app: {{one: {{domain: example.com, subdomain: {first}}}, "
        f"two: {{domain: Example.com, subdomain: {second}}}}}"
    )
    message = (
        "application.app.two.domain: a host name is that of application.app.one.domain already"
    )
    assert faults(local(services)) == ([message] if shared else [])
    assert faults(local(services.replace("Example", "other"))) == []


# Server groups


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        ("servers: {a: {}, b: {}}", ": exactly one group needs `master: true`"),
        (
            "servers: {a: {master: true}, b: {master: true}}",
            ".b.master: exactly one group may be master, and a is",
        ),
        ("", ": is required"),
    ],
)
def test_one_group_of_servers_is_the_master(servers: str, message: str) -> None:
    assert fault(hetzner(servers=servers)) == f"application.servers{message}"
    assert faults(hetzner(servers="servers: {a: {master: true}, b: {}}")) == []
    assert faults(local()) == []


@pytest.mark.parametrize(
    "kind", ["app: {web: {%s}}", "database: {url: x, %s}", "services: {r: {image: r, %s}}"]
)
def test_everything_that_runs_names_server_groups_that_exist(kind: str) -> None:
    path = {"a": "app.web", "d": "database", "s": "services.r"}[kind[0]]
    assert fault(hetzner(kind % "")) == (
        f"application.{path}.servers: is required: a list of server groups"
    )
    assert fault(hetzner(kind % "servers: []")).endswith("is required: a list of server groups")
    assert fault(hetzner(kind % "servers: [main, min]")) == (
        f"application.{path}.servers.1: there is no such server group; did you mean main?"
    )
    assert faults(hetzner(kind % "servers: [main]")) == []
    assert faults(local(kind % "")) == []
    assert fault(local(kind % "servers: [main]")).endswith("group; none is known here")


def test_servers_of_ones_own_are_named_by_their_hosts() -> None:
    config = parse(
        ssh("""\
        servers:
          main: {master: on, host: one.example.com, user: deploy, port: 2222, private_ip: 10.0.0.1}
          more: {hosts: [192.0.2.1, "2001:db8::1"]}
        """)
    )
    main, more = config.application.servers.values()
    assert (main.hosts, main.user, main.port) == (("one.example.com",), "deploy", 2222)
    assert (main.private_ip, main.count) == ("10.0.0.1", 1)
    assert (more.hosts, more.count) == (("192.0.2.1", "2001:db8::1"), 2)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("{}", "a: `host`, or a list of `hosts`, is required with ssh"),
        ("{hosts: []}", "a: `host`, or a list of `hosts`, is required with ssh"),
        ("{host: $EMPTY}", "a.host: $EMPTY is empty in the environment"),
        ("{host: x, hosts: [y]}", "a.hosts: either `host` or `hosts`, not both"),
        ("{host: x, count: 2}", "a.count: must be the number of hosts"),
        ("{hosts: [x, y], count: 3}", "a.count: must be the number of hosts"),
        ("{hosts: [x, y], private_ip: 10.0.0.1}", "a.private_ip: is one server's"),
        ("{host: 'x y'}", "a.host: must be a host name or an IP address"),
        ("{host: -oProxyCommand=x}", "a.host: must be a host name or an IP address"),
        ("{host: x, user: -x}", "a.user: must be a login name"),
        ("{host: x, user: a b}", "a.user: must be a login name"),
        ("{host: x, port: 0}", "a.port: must be a port"),
        ("{host: x, private_ip: 10.0.0}", "a.private_ip: must be an IP address"),
        ("{hosts: x}", "a.hosts: must be a list"),
    ],
)
def test_a_group_of_ones_own_servers_is_checked(group: str, expected: str) -> None:
    assert expected in fault(ssh(f"servers: {{a: {group}}}"), EMPTY="")


@pytest.mark.parametrize(
    "key",
    [
        *("host: x", "hosts: [x]", "user: u", "port: 22", "private_ip: 10.0.0.1"),
        "host_keys: [$PUBLIC_KEY]",
    ],
)
def test_hosts_are_for_ones_own_servers_only(key: str) -> None:
    found = fault(hetzner(servers=f"servers: {{main: {{{key}}}}}"))
    assert found.endswith("is for `compute_provider: {ssh: {}}` only")
    assert faults(local(f"servers: {{main: {{{key}}}}}")) == []


# Volumes

VOLUMES = """\
servers:
    main: {master: true, volumes: {data: {}, more: {}}}
    many: {count: 2, volumes: {data: {}}}
"""


@pytest.mark.parametrize(
    ("servers", "mounts", "expected"),
    [
        ("[main]", "{data: /data, more: /more}", None),
        ("[many]", "{}", None),
        ("[main]", "{dta: /data}", ".dta: is no volume of server group main; did you mean data?"),
        ("[many]", "{data: /data}", ": volumes are one server's, and group many has 2 servers"),
        ("[main, many]", "{data: /data}", ": volumes are one server's: the service must run on"),
        ("[main]", "{data: data}", ".data: must be an absolute path"),
        ("[main]", "{data: /d, more: /d/}", ": two volumes share a path; each needs its own"),
    ],
)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("app.web.mounts", "app: {web: {servers: %s, mounts: %s}}"),
        ("services.r.mount", "services: {r: {image: r, servers: %s, mount: %s}}"),
        ("database.mount", "database: {url: x, servers: %s, mount: %s}"),
    ],
)
def test_a_mount_names_a_volume_of_the_one_server_it_runs_on(
    path: str, kind: str, servers: str, mounts: str, expected: str | None
) -> None:
    found = faults(hetzner(kind % (servers, mounts), servers=VOLUMES))
    assert len(found) == int(expected is not None)
    assert all(one.startswith(f"application.{path}{expected}") for one in found)


def test_on_this_machine_volumes_need_no_declaration_and_paths_may_be_relative() -> None:
    assert faults(local("app: {web: {mounts: {data: storage, logs: /var/log/app}}}")) == []
    found = fault(local("app: {web: {mounts: {data: ../storage}}}"))
    assert found.startswith("application.app.web.mounts.data: must be an absolute path")
    declared = (
        "servers: {main: {volumes: {data: }}}\napp: {web: {servers: [main], mounts: {dat: x}}}"
    )
    assert "did you mean data?" in fault(local(declared))


# Databases


@pytest.mark.parametrize("adapter", ["postgres", "postgresql", "mysql"])
def test_a_database_without_a_url_needs_its_secrets(adapter: str) -> None:
    names = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
    if adapter == "mysql":
        names = ("MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_DATABASE")
    messages = [
        f"application.database.secrets.{name}: is required with {adapter} where there is no `url`"
        for name in names
    ]
    assert faults(hetzner(f"database: {{servers: [main], adapter: {adapter}}}")) == messages
    secrets = ", ".join(f"{name}: x" for name in names)
    text = f"database: {{servers: [main], adapter: {adapter}, secrets: {{{secrets}}}}}"
    assert faults(hetzner(text)) == []
    assert fault(hetzner(text.replace("x}", "''}"))) == messages[-1]


@pytest.mark.parametrize(
    ("adapter", "url"),
    [
        ("postgres", "postgres://u:p@h:5432/d"),
        ("postgresql", "postgresql+psycopg://u:p%40@h/d?sslmode=require"),
        ("postgres", "postgresql:///d?host=/run/postgresql"),
        ("mysql", "mysql2://u@h/d"),
    ],
)
def test_a_database_url_stands_for_the_secrets(adapter: str, url: str) -> None:
    text = f"database: {{servers: [main], adapter: {adapter}, url: '{url}'}}"
    assert faults(hetzner(text)) == []


@pytest.mark.parametrize(
    ("adapter", "url"),
    [
        ("postgres", "mysql://u:p@h/d"),
        ("mysql", "postgres://u:p@h/d"),
        ("postgres", "u:p@h/d"),
        ("postgres", "postgres://u:p/w@h/d"),
        ("postgres", "postgres://u:p#w@h/d"),
        ("postgres", "postgres://u:p@h:port/d"),
        ("postgres", "postgres://u:p w@h/d"),
        ("postgres", "postgres://u:p@[h/d"),
    ],
)
def test_a_database_url_that_cannot_be_read_is_refused(adapter: str, url: str) -> None:
    found = fault(hetzner(f"database: {{servers: [main], adapter: {adapter}, url: '{url}'}}"))
    assert found.startswith(f"application.database.url: must be {adapter}://USER")
    assert "percent-encoding" in found


def test_sqlite_needs_a_mount_and_services_beside_it() -> None:
    assert fault(local("database: {adapter: sqlite3}")).startswith(
        "application.database.mount: is required with sqlite3"
    )
    assert faults(local("database: {adapter: sqlite3, mount: {data: /data}}")) == []
    found = fault(
        hetzner(
            "database: {adapter: sqlite3, servers: [main], mount: {data: /data}}\n"
            "app: {web: {servers: [many]}, api: {servers: [main]}}",
            servers=VOLUMES,
        )
    )
    assert found == (
        "application.app.web.servers: sqlite3 is a file on main: the service must run there only"
    )


def test_a_database_says_what_it_is() -> None:
    assert fault(local("database: {servers: }\n")) == (
        "application.database.adapter: is required: postgres, mysql or sqlite3"
    )
    assert faults(local("database: {url: 'redis://x'}")) == []
    assert faults(local("database: {image: 'custom'}")) == []


# Healthchecks


def test_a_healthcheck_has_what_it_needs() -> None:
    assert fault(local("app: {web: {healthcheck: {type: exec}}}")) == (
        "application.app.web.healthcheck.command: is required with `type: exec`"
    )
    for kind in ("http", "tcp"):
        assert fault(local(f"app: {{web: {{healthcheck: {{type: {kind}}}}}}}")) == (
            "application.app.web.healthcheck: a `port`, here or of the service, is required with "
            f"`type: {kind}`"
        )
        assert faults(local(f"app: {{web: {{healthcheck: {{type: {kind}, port: 80}}}}}}")) == []
    assert faults(local("app: {web: {healthcheck: {type: exec, command: true}}}")) == []


# Names


def test_no_two_things_get_the_same_remote_name() -> None:
    assert fault(ssh("servers: {a: {master: true, host: x}, b: {hosts: [y, X]}}")) == (
        "application.servers.b.hosts: a host is that of application.servers.a.hosts already"
    )
    assert fault(local("app: {a_b: {}, a-b: {}}")) == (
        "application.app.a-b: the name is that of application.app.a_b already"
    )
    assert fault(local("app: {redis: {}}\nservices: {redis: {image: redis}}")) == (
        "application.services.redis: the name is that of application.app.redis already"
    )
    assert fault(hetzner(servers="servers: {a_b: {master: true}, A-b: {}}")) == (
        "application.servers.A-b: the name is that of application.servers.a_b already"
    )


# A fault is told once


@pytest.mark.parametrize(
    "extra",
    [
        "app: {web: {port: x, healthcheck: {type: http}}}",
        "app: {web: {healthcheck: {type: exec, command: [a]}}}",
        "app: {web: {port: 80, healthcheck: {type: exek}}}",
        "database: {adapter: postgres, url: [a]}",
        "database: {adapter: [a]}",
        "database: {adapter: sqlite3, mount: [a]}",
        "database: {adapter: sqlite3, mount: {data: }}",
    ],
)
def test_what_follows_from_a_fault_is_not_reported_too(extra: str) -> None:
    assert len(faults(local(extra))) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{{{CLOUDFLARE}}}", "{cloudflare: text}"),
        (f"{{{CLOUDFLARE}}}", "text"),
        ("{private_key: $PRIVATE_KEY, public_key: $PUBLIC_KEY}", "text"),
        ("{main: {}}", "[main]"),
        ("servers: [main]", "servers: main"),
        ("port: 80", "port: x"),
    ],
)
def test_what_follows_from_a_fault_of_servers_is_not_reported_too(old: str, new: str) -> None:
    text = hetzner(WITH_A_DOMAIN)
    assert old in text
    found = faults(text.replace(old, new))
    assert len([line for line in found if "there is no such server group" not in line]) == 1
