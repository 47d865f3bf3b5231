"""Whole interviews: each question, and what is answered."""

from __future__ import annotations

from tests.integration.onboarding.wizard import BLANK, ENTER, Step

#: Secrets that are typed, none of which may show anywhere.
TYPED = ("val-5ecret-api", "db-5ecret-word")
HEALTH = "Health page (blank: none, only the port is looked at):"

LOCAL: tuple[Step, ...] = (
    ("Application name:", "shop"),
    ("Where does it run?", ">this machine"),
    ("App name:", "web"),
    ("Command:", "exec sleep 600"),
    ("Port (blank: none):", "8123"),
    (HEALTH, "/up"),
    ("Command before each release (blank: none):", "echo ready"),
    ("Another app?", "y"),
    ("App name:", "worker"),
    ("Command:", "exec sleep 601"),
    ("Port (blank: none):", ENTER),
    ("Command before each release (blank: none):", ENTER),
    ("Another app?", "n"),
    ("Database:", ">PostgreSQL"),
    ("URL (postgres://USER:PASSWORD@HOST/NAME):", "postgres://u:db-5ecret-word@db.example/shop"),
    ("Variable (blank: no more):", "LOG_LEVEL"),
    ("Value of LOG_LEVEL:", "info"),
    ("Variable (blank: no more):", ENTER),
    ("Secret (blank: no more):", "API_TOKEN"),
    ("Value of API_TOKEN:", "val-5ecret-api"),
    ("Secret (blank: no more):", ENTER),
    ("Stream deploy logs to a dashboard?", "y"),
    ("Which one?", ">one that runs already"),
    ("Callback URL:", "http://127.0.0.1:1/callbacks"),
    ("? What now?", ">keep this URL"),
    ("? What now?", ">save it"),
)

OWN_SERVERS: tuple[Step, ...] = (
    ("Application name:", "shop"),
    ("Where does it run?", ">own servers"),
    ("Hosts, separated by commas:", "one.example.com, 10.0.0.2"),
    ("User:", "deploy"),
    ("SSH port:", "2222"),
    ("SSH key:", ">use a key file of mine"),
    ("Private key file:", "~/id_ed25519"),
    ("What brings domains to the apps?", ">no domains"),
    ("App name:", "web"),
    ("Command (blank: the image's):", "serve"),
    ("Port (blank: none):", "3000"),
    (HEALTH, ENTER),
    ("Command before each release (blank: none):", ENTER),
    ("Another app?", "n"),
    ("Database:", ">SQLite"),
    ("Size of its volume in GB:", ENTER),
    ("Variable (blank: no more):", ENTER),
    ("Secret (blank: no more):", ENTER),
    ("Stream deploy logs to a dashboard?", "n"),
    ("? What now?", ">save it"),
)

#: What a checkout of :func:`~tests.integration.onboarding.wizard.write_small` leaves to be asked.
FEW: tuple[Step, ...] = (
    ("What brings domains to the apps?", ENTER),
    ("Stream deploy logs to a dashboard?", "n"),
)
#: The same up to the dashboard's URL, and with a dashboard that is started.
STREAMED: tuple[Step, ...] = (
    FEW[0],
    ("Stream deploy logs to a dashboard?", "y"),
    ("Which one?", ">one that runs already"),
)
STARTED = (*STREAMED[:2], ("Which one?", ">start one on this machine, in the background"))

#: An interview with somebody who gets everything wrong first; a refusal is what is said of it.
CAREFUL: tuple[tuple[str, str, str], ...] = (
    ("Application name:", "My Shop", "must be lower-case letters"),
    ("Application name:", "shop", ""),
    ("Where does it run?", ">own servers", ""),
    ("Hosts, separated by commas:", BLANK, "an answer is needed here"),
    ("Hosts, separated by commas:", "no good", "must be a host name"),
    (
        "Hosts, separated by commas:",
        "a.example, A.example",
        "must be host names or IP addresses, each",
    ),
    ("Hosts, separated by commas:", "a.example", ""),
    ("User:", "-oProxyCommand=x", "must be a login name"),
    ("User:", "root", ""),
    ("SSH port:", "0", "must be a port"),
    ("SSH port:", "22", ""),
    ("SSH key:", ">use a key file of mine", ""),
    ("Private key file:", "~/missing", "cannot read"),
    ("Private key file:", "~/app.py", "~/app.py must be an Ed25519 private key"),
    ("Private key file:", "~/id_ed25519", ""),
    ("What brings domains to the apps?", ">no domains", ""),
    ("App name:", "-web-", "must be lower-case letters"),
    ("App name:", "web", ""),
    ("Command (blank: the image's):", ENTER, ""),
    ("Port (blank: none):", "99999", "must be a port, 1 to 65535"),
    ("Port (blank: none):", "3000", ""),
    (HEALTH, "up", "must be a path that begins with"),
    (HEALTH, "/up", ""),
    ("Command before each release (blank: none):", ENTER, ""),
    ("Another app?", "y", ""),
    ("App name:", "Web", "must be lower-case letters"),
    ("App name:", "web", "another service has this name"),
    ("App name:", "api", ""),
    ("Command (blank: the image's):", ENTER, ""),
    ("Port (blank: none):", BLANK, ""),
    ("Command before each release (blank: none):", ENTER, ""),
    ("Another app?", "n", ""),
    ("Database:", ">PostgreSQL with pgvector", ""),
    ("Size of its volume in GB:", "ten", "must be a whole number from 1"),
    ("Size of its volume in GB:", "10", ""),
    ("Variable (blank: no more):", "9LIVES", "must be letters, digits"),
    ("Variable (blank: no more):", "A", ""),
    ("Value of A:", ENTER, ""),
    ("Variable (blank: no more):", ENTER, ""),
    ("Secret (blank: no more):", "A-B", "must be letters, digits"),
    ("Secret (blank: no more):", "B", ""),
    ("Value of B:", BLANK, "an answer is needed here"),
    ("Value of B:", "val-5ecret-api", ""),
    ("Secret (blank: no more):", ENTER, ""),
    ("Stream deploy logs to a dashboard?", "y", ""),
    ("Which one?", ">one that runs already", ""),
    ("Callback URL:", "dashboard.example.com", "must be an http or https URL"),
    ("Callback URL:", "https://d.example.com/?a=b", "must be an http or https URL"),
    ("Callback URL:", "http://127.0.0.1:1/", "No answer: no connection"),
    ("? What now?", ">stream to no dashboard", ""),
    ("? What now?", ">save it", ""),
)
