"""The API over HTTPS, and for the programs of hosts what k3s is there, over HTTP."""

from __future__ import annotations

import json
import logging
import re
import select
import socket
import ssl
import threading
import time
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.fakes.kubernetes import logs, scheduling
from tests.fakes.kubernetes.applying import apply, note_writer, patch
from tests.fakes.kubernetes.controllers import step
from tests.fakes.kubernetes.kinds import (
    BY_PLURAL,
    ApiError,
    Kind,
    Object,
    build_not_found,
    matches,
    matches_fields,
)
from tests.fakes.kubernetes.kubelet import pull
from tests.fakes.kubernetes.objects import end, is_going, orphan, override
from tests.fakes.kubernetes.store import Store, show

PATH = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/([^/]+)(?=/))?/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?"
)
#: The kinds that have moved on by the next time that one looks.
MOVED = {"Deployment", "StatefulSet", "ReplicaSet", "Job", "Pod"}
#: Seconds from one step of the cluster to the next while it is watched, and between two bookmarks.
STEP_SECONDS = 0.02
BOOKMARK_SECONDS = 0.2
# It says each request, and each watch that is given up.
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)

NAMES_ONLY = "as=PartialObjectMetadata"


class Handler(WSGIRequestHandler):
    """Keeps connections, as the API does; werkzeug's own handler closes each."""

    protocol_version = "HTTP/1.1"
    # Else a body waits until the client has said that the head is there, which takes it 40 ms.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        head: list[Any] = []

        def start(*status_and_headers: Any) -> Any:
            head.extend(status_and_headers[:2])

        answer: Any = self.server.app(self.make_environ(), start)
        try:
            is_chunked = self._begin(*head)
            for data in filter(None, answer):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if is_chunked else data)
            if is_chunked:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            answer.close()

    def _begin(self, status: str, headers: list[tuple[str, str]]) -> bool:
        code, _, reason = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        begin = self.send_response_only if "date" in names else self.send_response
        begin(int(code), reason)
        is_chunked = "content-length" not in names
        for name, value in [*headers, *[("Transfer-Encoding", "chunked")] * is_chunked]:
            self.send_header(name, value)
        self.end_headers()
        return is_chunked


class Server(HTTPServer):
    """One that keeps connections, and stops at once."""

    def start(self) -> None:
        self.server = make_server(
            self.host,
            self.port,
            Request.application(self.application),
            threaded=True,
            request_handler=Handler,
            ssl_context=self.ssl_context,
        )
        self.port = self.server.port
        self.server_thread = threading.Thread(target=self.thread_target, daemon=True)
        self.server_thread.start()

    def thread_target(self) -> None:
        assert self.server is not None
        self.server.serve_forever(poll_interval=0.05)


@cache
def make_certificates() -> tuple[trustme.CA, trustme.LeafCert, trustme.LeafCert]:
    """An authority, the API's certificate and that of the one who may use it."""
    authority = trustme.CA()
    return authority, authority.issue_cert("127.0.0.1"), authority.issue_cert("admin@k3s.test")


def start_server(handle: Callable[[Request], Response], port: int = 0, *, tls: bool) -> Server:
    context = None
    if tls:
        authority, own, _ = make_certificates()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    server = Server("127.0.0.1", port, ssl_context=context, threaded=True)
    server.expect_request(re.compile(".*")).respond_with_handler(handle)
    server.start()
    return server


def build_kubeconfig(port: int) -> Object:
    """What ``k3s kubectl config view --minify --flatten --output=json`` prints."""
    authority, _, client = make_certificates()
    chain = b"".join(pem.bytes() for pem in client.cert_chain_pems)
    keys = {
        "client-certificate-data": chain,
        "client-key-data": client.private_key_pem.bytes(),
    }
    user = {key: b64encode(value).decode() for key, value in keys.items()}
    trust = b64encode(authority.cert_pem.bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": trust}
    return {
        "kind": "Config",
        "apiVersion": "v1",
        "clusters": [{"name": "default", "cluster": cluster}],
        "users": [{"name": "default", "user": user}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    }


class ApiServer:
    """The API of a cluster.

    Args:
        store: what it has.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        #: What was asked for so far, in kubectl's words.
        self.calls: list[list[str]] = []
        #: The Secrets that were answered with what they hold.
        self.secrets_read: set[str] = set()
        self._stepped = 0.0
        self.sockets: set[socket.socket] = set()
        self._server = start_server(self._handle, tls=True)
        self._programs = start_server(self._serve_program, tls=False)
        self.port = self._server.port

    @property
    def programs_port(self) -> int:
        return self._programs.port

    def start(self) -> None:
        """Serve again, at the port of before."""
        self._server = start_server(self._handle, self.port, tls=True)

    def stop(self) -> None:
        self._server.stop()
        self.cut()

    def close(self) -> None:
        self.stop()
        self._programs.stop()

    def cut(self) -> None:
        for one in tuple(self.sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _handle(self, request: Request) -> Response:
        self.sockets.add(request.environ["werkzeug.socket"])
        found = PATH.fullmatch(request.path)
        kind = BY_PLURAL.get(found[2]) if found else None
        if found is None or kind is None or not kind.is_at(request.path, found[1]):
            return answer(ApiError(404, "NotFound", "no such path").status, 404)
        try:
            return Call(self, request, found).run()
        except ApiError as error:
            return answer(error.status, error.code)
        except DroppedError:
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return Response()

    def check(self, verb: str, kind: Kind) -> None:
        """Whether this request is one that fails."""
        store = self.store
        for name in (verb, f"{verb} {kind.plural}"):
            rule = store.scenario.get("fail", {}).get(name)
            if rule is None:
                continue
            number = store.count(f"fail {name}") - int(rule.get("after", 0))
            if 0 < number <= int(rule.get("times", 1)):
                if "status" not in rule:
                    raise DroppedError
                raise ApiError(rule["status"], rule.get("reason", ""), rule.get("message", ""))

    @property
    def is_due(self) -> bool:
        """Whether the next step is due: watches together make one now and then."""
        return time.monotonic() - self._stepped >= STEP_SECONDS

    def move(self) -> None:
        self._stepped = time.monotonic()
        step(self.store)

    def wait(self, connection: socket.socket) -> bool:
        """Wait for the next step; whether who asked is still there."""
        readable, _, _ = select.select([connection], [], [], STEP_SECONDS)
        return not readable

    def _serve_program(self, request: Request) -> Response:
        given = json.loads(request.data or b"{}")
        with self.store.opened() as store:
            if request.path == "/register":
                scheduling.register(store, given["name"], given["given"])
                return answer({})
            if request.path == "/pull":
                return answer(pull(store, given["image"], given["login"]))
            if request.path == "/readyz":
                return answer({"stdout": "ok"})
            self.calls.append(["exec", given["target"]])
            return answer(logs.execute(store, given["target"], given["namespace"], given["words"]))


class DroppedError(Exception):
    pass


class Call:
    def __init__(self, api: ApiServer, request: Request, path: re.Match[str]) -> None:
        self._api = api
        self._store = api.store
        self._request = request
        self._query = request.args
        self._namespace, plural, name, self._part = path.groups()
        self._kind = BY_PLURAL[plural]
        self._name = name or ""
        self._names_only = NAMES_ONLY in request.headers.get("Accept", "")

    def run(self) -> Response:
        body = json.loads(self._request.data or b"{}")
        words = self._describe(body)
        with self._store.lock:
            self._api.calls.append(words)
            self._api.check(words[0], self._kind)
            if words[0] == "watch":
                return self._watch()
            if words[0] == "logs":
                return self._print_lines()
            if words[0] == "get":
                return self._get()
            # What has changed is looked for among all objects: only now can any have.
            with self._store.opened():
                return self._change(words[0], body)

    def _change(self, verb: str, body: Object) -> Response:
        if verb == "apply":
            place = {"name": self._name, "namespace": self._namespace}
            manager, force = self._query["fieldManager"], self._query.get("force") == "true"
            item = apply(self._store, self._kind, place, body, manager, force=force)
            return answer(self._show(item))
        item = self._find()
        check_uid(item, body)
        if verb == "evict":
            end(self._store, item)
        elif verb == "delete":
            if body.get("propagationPolicy") == "Orphan":
                orphan(self._store, item)
            end(self._store, item, is_last=body.get("propagationPolicy") == "Foreground")
            if self._store.get(self._kind.name, self._name, self._namespace or "") is None:
                return answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        else:
            patch(item, body)
            note_writer(item, body, self._query.get("fieldManager", "unknown"))
        return answer(self._show(item))

    def _describe(self, body: Object) -> list[str]:
        """The request in kubectl's words."""
        named = f"{self._kind.name.lower()}/{self._name}" if self._name else self._kind.plural
        if self._request.method == "GET":
            if self._part == "log":
                return ["logs", self._name, *["--follow"] * ("follow" in self._query)]
            return ["watch" if "watch" in self._query else "get", named]
        if self._request.method in {"POST", "DELETE"}:
            is_eviction = self._request.method == "POST"
            return ["evict", self._name] if is_eviction else ["delete", *named.split("/")]
        if "apply-patch" in self._request.headers["Content-Type"]:
            return ["apply", named]
        is_cordoned = body.get("spec", {}).get("unschedulable", False)
        if is_cordoned is not False:
            return ["cordon" if is_cordoned else "uncordon", self._name]
        return ["patch", named]

    def _find(self) -> Object:
        item = self._store.get(self._kind.name, self._name, self._namespace or "")
        if item is None:
            raise build_not_found(self._kind, self._name)
        return item

    def _show(self, item: Object) -> Object:
        """An object as it is answered; its fields' managers are told too, as ever."""
        shown = override(self._store, show(item))
        metadata = {**shown["metadata"], "managedFields": [{"manager": "someone"}]}
        if self._names_only:
            version = "meta.k8s.io/v1"
            return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata}
        return {**shown, "metadata": metadata}

    def _note_secret(self, item: Object) -> None:
        if item["kind"] == "Secret" and not self._names_only:
            self._api.secrets_read.add(item["metadata"]["name"])

    def _get(self) -> Response:
        if self._kind.name in MOVED:
            with self._store.opened():
                self._api.move()
        if self._name:
            self._note_secret(self._find())
            return answer(self._show(self._find()))
        found = self._select()
        first = int(self._query.get("continue", "0"))
        last = first + int(self._query.get("limit", "500"))
        metadata: Object = {"resourceVersion": str(self._store.version)}
        if last < len(found):
            metadata["continue"] = str(last)
        items = []
        for item in found[first:last]:
            self._note_secret(item)
            shown = self._show(item)
            # Lists name the kind of their items once.
            items.append({k: v for k, v in shown.items() if k not in ("kind", "apiVersion")})
        kind = {"kind": f"{self._kind.name}List", "apiVersion": self._kind.version}
        return answer({**kind, "metadata": metadata, "items": items})

    def _select(self) -> list[Object]:
        namespace = self._namespace if self._kind.namespaced else None
        return [item for item in self._store.select(self._kind.name, namespace) if self._fits(item)]

    def _fits(self, item: Object) -> bool:
        return matches(
            self._query.get("labelSelector"), item["metadata"].get("labels", {})
        ) and matches_fields(self._query.get("fieldSelector"), item)

    def _watch(self) -> Response:
        version = int(self._query["resourceVersion"])
        if version < self._store.forgotten:
            raise ApiError(410, "Expired", f"too old resource version: {version}")
        lines = self._stream(version, time.monotonic() + int(self._query["timeoutSeconds"]))
        return Response(lines, content_type="application/json")

    def _stream(self, version: int, deadline: float) -> Iterator[bytes]:
        connection = self._request.environ["werkzeug.socket"]
        marked = time.monotonic()
        while self._api.wait(connection) and time.monotonic() < deadline:
            with self._store.lock:
                if self._kind.name in MOVED and self._api.is_due:
                    with self._store.opened():
                        self._api.move()
                events, version = self._list_events(version)
            if time.monotonic() - marked > BOOKMARK_SECONDS:
                marked = time.monotonic()
                metadata = {"resourceVersion": str(version)}
                item = {"kind": self._kind.name, "metadata": metadata}
                events.append({"type": "BOOKMARK", "object": item})
            for event in events:
                yield json.dumps(event).encode() + b"\n"

    def _list_events(self, version: int) -> tuple[list[Object], int]:
        """What has changed since, and the version of now."""
        if version < self._store.forgotten:
            status = ApiError(410, "Expired", f"too old resource version: {version}").status
            return [{"type": "ERROR", "object": status}], self._store.version
        events = []
        changes = self._store.changes
        first = bisect_right(changes, version, key=lambda change: change[0])
        for _, kind, item in changes[first:]:
            place = item["metadata"].get("namespace")
            is_one = item["kind"] == self._kind.name and self._namespace in (None, place)
            if is_one and self._fits(item):
                events.append({"type": kind, "object": self._show(item)})
                self._note_secret(item)
        return events, self._store.version

    def _print_lines(self) -> Response:
        pod = self._find()
        container, previous = self._query.get("container"), "previous" in self._query
        lines = logs.read_lines(pod, container, previous=previous)
        if "follow" in self._query:
            uid = pod["metadata"]["uid"]
            return Response(self._follow_lines(uid, container), content_type="text/plain")
        tail = int(self._query.get("tailLines", len(lines)))
        shown = lines[max(0, len(lines) - tail) :]
        return Response("".join(f"{line}\n" for line in shown), content_type="text/plain")

    def _follow_lines(self, uid: str, container: str | None) -> Iterator[bytes]:
        """The lines of a container as it prints them, until it ends. Nothing moves by this."""
        connection, printed = self._request.environ["werkzeug.socket"], 0
        cut = self._store.scenario.get("cut-lines")
        while True:
            with self._store.lock:
                pods = self._store.select("Pod")
                pod = next((one for one in pods if one["metadata"]["uid"] == uid), None)
                lines = logs.read_lines(pod, container) if pod else []
                goes_on = pod is not None and logs.is_running(pod) and not is_going(pod)
            for line in lines[printed:]:
                if cut and printed >= cut:
                    self._store.scenario.pop("cut-lines", None)
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                printed += 1
                yield f"{line}\n".encode()
            if not goes_on or not self._api.wait(connection):
                return


def check_uid(item: Object, body: Object) -> None:
    """Whether it is the very object that is to go."""
    wanted, uid = body.get("preconditions", {}).get("uid"), item["metadata"]["uid"]
    if wanted not in (None, uid):
        text = f"the UID in the precondition ({wanted}) does not match the UID in record ({uid})"
        raise ApiError(409, "Conflict", text)


def answer(document: Object, code: int = 200) -> Response:
    return Response(json.dumps(document), code, content_type="application/json")
