"""Requests to an app on a real cluster, one after the other while it is changed."""

from __future__ import annotations

import threading
from typing import Self

import urllib3

#: Seconds between two requests, and that one may take.
PAUSE, PATIENCE = 0.02, 2.0


class Poller:
    """Asks for a URL, over a connection of its own each time, for as long as ``with`` lasts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self.count = 0
        #: What went wrong, in words.
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def __str__(self) -> str:
        return f"{len(self.failures)} of {self.count:,} requests failed"

    def _poll(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=PATIENCE)
        while not self._ends.wait(PAUSE):
            self.count += 1
            try:
                answer = pool.request("GET", self._url, headers={"Connection": "close"})
            except urllib3.exceptions.HTTPError as error:
                self.failures.append(str(error))
            else:
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}")
