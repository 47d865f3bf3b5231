"""The build, which goes on in the background while the servers are being prepared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from pathlib import Path

from nvoi.errors import CommandError, NvoiError
from nvoi.images.context import stage
from nvoi.images.engine import Engine
from nvoi.images.failure import BuildLog
from nvoi.images.image import Image, find_newest, split_tag, strip_digest
from nvoi.images.process import CancelledError, Follower, Words, ask, follow
from nvoi.images.registry import Registry
from nvoi.log.levels import get_logger
from nvoi.source import Source
from nvoi.waiting import Reminder

log = get_logger("nvoi.images")

#: Seconds between two looks at whether the platform is known, or the build done.
LOOK_SECONDS = 0.1
#: Seconds that a cancelled build may take to end; more than what its processes are given.
END_SECONDS = 15.0

Cache = Callable[[], str | None]


def find_no_cache() -> str | None:
    """No registry can be reached."""
    return None


class Build:
    """One build, on a thread of its own once it is started.

    Args:
        engine: what builds.
        source: what of the checkout may be in it.
        dockerfile: the file with the instructions.
        tag: the new image, ``P:<stamp>``.
        platform: such as ``linux/amd64``; the build begins when it is known.
        environ: the engine's environment.
        cache: gives ``ADDRESS:PORT`` at which the cluster's registry answers, None while it
            cannot be reached. Asked once, when the build begins.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        source: Source,
        dockerfile: Path,
        tag: str,
        platform: Future[str],
        environ: Mapping[str, str],
        cache: Cache = find_no_cache,
    ) -> None:
        self._engine = engine
        self._source = source
        self._dockerfile = dockerfile
        self._tag = tag
        self._platform = platform
        self._environ = {**environ, **engine.environment}
        self._cache = cache
        self._cancel = threading.Event()
        self._image: Future[Image] = Future()
        self._thread = threading.Thread(target=self._run, name="nvoi-build", daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._image.done()

    def wait(self) -> Image:
        """The image, once it is built.

        Raises:
            CommandError: the build failed; its ``output`` has the last 20 lines.
            CancelledError: it was cancelled.
        """
        reminder = Reminder(f"the build of {self._tag}", log)
        while True:
            try:
                return self._image.result(LOOK_SECONDS)
            except TimeoutError:
                # The build itself may have raised one.
                if self._image.done():
                    return self._image.result()
                reminder.tell()

    def cancel(self) -> None:
        """End it at once, with all that it runs; return when it has. Does nothing after the end."""
        self._cancel.set()
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            self._image.set_result(self._build())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the waiting thread
            self._image.set_exception(error)

    def _build(self) -> Image:
        with stage(self._source, self._environ, self._cancel) as folder:
            return self._build_from(folder)

    def _build_from(self, folder: Path) -> Image:
        platform = self._get_platform()
        cache = self._find_cache()
        log.info("building %s for %s with %s", self._tag, platform, self._engine.name)
        began = time.monotonic()
        self._build_with(folder, platform, cache)
        # An engine that was ended by a signal may say that all is well: the image tells.
        found = ask(self._engine.inspect(self._tag), self._environ)
        if not found:
            raise CommandError(
                f"the image cannot be built: {self._engine.name} made no {self._tag}"
            )
        log.ok("built %s in %.1f s", self._tag, time.monotonic() - began)
        return Image(self._tag, strip_digest(found))

    def _build_with(self, folder: Path, platform: str, cache: Registry | None) -> None:
        source = self._fetch_cache(cache) if cache else None
        try:
            self._run_build(folder, platform, source)
        except CommandError as error:
            if cache is None or source is None or cache.is_up():
                raise
            log.warning(
                "%s; the layer cache was lost meanwhile, building without it", error.message
            )
            self._run_build(folder, platform, None)
        finally:
            forget = self._engine.forget(source) if source else None
            if source and forget and self._engine.fetch_cache(source):
                ask(forget, self._environ)

    def _get_platform(self) -> str:
        while True:
            if self._cancel.is_set():
                raise CancelledError("the build was cancelled")
            try:
                return self._platform.result(LOOK_SECONDS)
            except TimeoutError:
                if self._platform.done():
                    return self._platform.result()
            except FutureCancelledError as error:
                raise CancelledError("the build was cancelled") from error

    def _find_cache(self) -> Registry | None:
        """The registry, where it can be reached now and has an image of the app."""
        if not self._engine.can_use_cache():
            return None
        try:
            address = self._cache()
        except NvoiError as error:
            log.debug("no layer cache: %s", error)
            return None
        if address is None:
            return None
        registry = Registry(address, patience=False)
        return registry if registry.is_up() else None

    def _fetch_cache(self, registry: Registry) -> str | None:
        """The last image of the app there; None where there is none, or it does not come."""
        repository, _ = split_tag(self._tag)
        try:
            newest = find_newest(registry.list_tags(repository))
        except NvoiError as error:
            log.debug("no layer cache: %s", error)
            return None
        if newest is None:
            return None
        reference = f"{registry.address}/{repository}:{newest}"
        words = self._engine.fetch_cache(reference)
        # Who has built here before has the layers here, and more of them.
        if words and (self._has_own(repository) or self._follow(words, BuildLog()) != 0):
            return None
        log.debug("layers may come from %s", reference)
        return reference

    def _has_own(self, repository: str) -> bool:
        return bool((ask(self._engine.list_tags(repository), self._environ) or "").split())

    def _run_build(self, folder: Path, platform: str, cache: str | None) -> None:
        build_log = BuildLog()
        words = self._engine.build(folder, self._dockerfile, self._tag, platform, cache)
        status = self._follow(words, build_log)
        if status != 0:
            raise CommandError(
                f"the image cannot be built: {build_log.describe(status)}",
                hint=build_log.find_hint(),
                output=build_log.last_lines,
            )

    def _follow(self, words: Words, build_log: BuildLog) -> int:
        def listen(line: str) -> None:
            log.debug("build: %s", line)
            build_log.feed(line)

        return follow(words, self._environ, Follower(listen, cancel=self._cancel))


def start_build(
    engine: Engine,
    *,
    source: Source,
    dockerfile: Path,
    tag: str,
    platform: Future[str] | str,
    environ: Mapping[str, str],
    cache: Cache = find_no_cache,
) -> Build:
    """A build that has begun. Whoever starts one waits for it or cancels it.

    Args:
        engine: see :class:`Build`, as for all others.
        source: what of the checkout may be in it.
        dockerfile: the file with the instructions.
        tag: the new image.
        platform: a future of it, or itself where it is known.
        environ: the engine's environment.
        cache: where the registry answers.
    """
    if isinstance(platform, str):
        known: Future[str] = Future()
        known.set_result(platform)
        platform = known
    build = Build(
        engine,
        source=source,
        dockerfile=dockerfile,
        tag=tag,
        platform=platform,
        environ=environ,
        cache=cache,
    )
    build.start()
    return build
