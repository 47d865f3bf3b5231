"""``nvoi demo``: an app and a dashboard that live for as long as somebody watches."""
