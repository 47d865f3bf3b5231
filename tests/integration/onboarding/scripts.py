"""Whole interviews: each question, and what is answered."""

from __future__ import annotations

from tests.integration.onboarding.wizard import ENTER, Step

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
