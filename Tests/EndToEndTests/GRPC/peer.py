#!/usr/bin/python3
"""gRPC's server and client of the tests, by Debian's python3-grpcio. Messages are JSON where they are not empty, so nothing is generated.

  peer.py serve [--certificate FILE --key FILE] [--health FILE] [--listen HOST:PORT]
      says `listening PORT`, then a line of JSON for what becomes of each call; SIGTERM ends it as gRPC does, with GOAWAY and time for
      calls that are under way
  peer.py call --to HOST:PORT [--ca FILE] [--authority NAME] [--from ADDRESS] CASE...
      says `pass CASE` or `fail CASE: why` for each; the cases are those of gRPC's interoperability tests, and a few of ours
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from concurrent import futures

try:
    import grpc
except ImportError:
    sys.exit("grpcio is not installed: apt-get install python3-grpcio")

SERVICE = "grpc.testing.TestService"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"


def dump(value):
    return json.dumps(value).encode()


def load(data):
    return json.loads(data) if data else {}


# ---------------------------------------------------------------- the server


lock = threading.Lock()
# The methods and names of calls that have begun.
begun = set()
more_begun = threading.Condition()


def say(**members):
    with lock:
        print(json.dumps(members), flush=True)


def note(context, method):
    """Says how the call began, and when it is over."""
    metadata = [(key, value if isinstance(value, str) else value.hex()) for key, value in context.invocation_metadata()]
    call = dict(metadata).get("x-call", "")
    remaining = context.time_remaining()
    over = threading.Event()

    def ended():
        over.set()
        say(event="end", method=method, call=call)

    say(event="begin", method=method, call=call, remaining=remaining, metadata=metadata)
    with more_begun:
        begun.add((method, call))
        more_begun.notify_all()
    if not context.add_callback(ended):
        ended()
    return over


def echo(context):
    metadata = dict(context.invocation_metadata())
    if "x-grpc-test-echo-initial" in metadata:
        context.send_initial_metadata((("x-grpc-test-echo-initial", metadata["x-grpc-test-echo-initial"]),))
    if "x-grpc-test-echo-trailing-bin" in metadata:
        context.set_trailing_metadata((("x-grpc-test-echo-trailing-bin", metadata["x-grpc-test-echo-trailing-bin"]),))


def refuse(context, status):
    """Ends the call where a status is asked for."""
    if not status:
        return False
    context.set_code({c.value[0]: c for c in grpc.StatusCode}[status["code"]])
    context.set_details(status["message"])
    return True


class Service(grpc.GenericRpcHandler):
    def __init__(self, health):
        self.health = health
        kinds = {
            "EmptyCall": grpc.unary_unary_rpc_method_handler(self.empty),
            "UnaryCall": grpc.unary_unary_rpc_method_handler(self.unary),
            "StreamingInputCall": grpc.stream_unary_rpc_method_handler(self.streaming_input),
            "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(self.streaming_output),
            "FullDuplexCall": grpc.stream_stream_rpc_method_handler(self.full_duplex),
            "WhoAmI": grpc.unary_unary_rpc_method_handler(self.who_am_i),
        }
        self.methods = {"/%s/%s" % (SERVICE, name): handler for name, handler in kinds.items()}
        self.methods["/grpc.health.v1.Health/Check"] = grpc.unary_unary_rpc_method_handler(self.check)

    def service(self, details):
        return self.methods.get(details.method)

    def empty(self, request, context):
        note(context, "EmptyCall")
        return b""

    def unary(self, data, context):
        over = note(context, "UnaryCall")
        request = load(data)
        echo(context)
        if request.get("sleep"):
            over.wait(60)
            return b""
        if request.get("await"):
            with more_begun:
                return dump(more_begun.wait_for(lambda: tuple(request["await"]) in begun, 20))
        if refuse(context, request.get("status")):
            return b""
        return dump({"size": len(data), "body": "0" * request.get("response_size", 0)})

    def streaming_input(self, requests, context):
        note(context, "StreamingInputCall")
        total = 0
        for data in requests:
            total += len(load(data).get("body", ""))
        return dump({"total": total})

    def stream(self, request, context):
        for part in request.get("responses", []):
            time.sleep(part.get("after", 0))
            yield dump({"body": "0" * part["size"]})

    def streaming_output(self, data, context):
        note(context, "StreamingOutputCall")
        request = load(data)
        if request.get("early"):
            context.send_initial_metadata(())
        yield from self.stream(request, context)

    def full_duplex(self, requests, context):
        over = note(context, "FullDuplexCall")
        echo(context)
        for data in requests:
            request = load(data)
            if request.get("sleep"):
                over.wait(60)
                return
            if refuse(context, request.get("status")):
                return
            yield from self.stream(request, context)

    def who_am_i(self, data, context):
        note(context, "WhoAmI")
        return dump([[k, v if isinstance(v, str) else v.hex()] for k, v in context.invocation_metadata()])

    def check(self, data, context):
        """grpc.health.v1.Health/Check: request and response have one field each."""
        name = data[2:].decode() if data else ""
        metadata = [[k, v if isinstance(v, str) else v.hex()] for k, v in context.invocation_metadata()]
        say(event="check", service=name, metadata=metadata)
        with open(self.health) as file:
            known = dict(line.rstrip("\n").rsplit(" ", 1) for line in file if line.strip())
        if name not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        if known[name] == "HANG":
            over = threading.Event()
            if context.add_callback(over.set):
                over.wait(60)
            return b""
        if known[name] == "EMPTY":
            return b""
        status = {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2, "SERVICE_UNKNOWN": 3}[known[name]]
        return bytes([8, status])


def serve(options):
    # Waited for, in all threads, and not handled: a handler runs in the main thread alone, which another thread that takes the signal does
    # not always wake.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=512), handlers=[Service(options.health)], options=[("grpc.so_reuseport", 1)]
    )
    if options.certificate:
        with open(options.key, "rb") as key, open(options.certificate, "rb") as certificate:
            credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
        port = server.add_secure_port(options.listen, credentials)
    else:
        port = server.add_insecure_port(options.listen)
    server.start()
    print("listening %d" % port, flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop(30).wait()
    # The interpreter's own end would wait for threads of the library's that wait for a request which was cancelled with its call.
    sys.stdout.flush()
    os._exit(0)


# ---------------------------------------------------------------- the client


def relay(target, source):
    """A port whose connections come from `source`: grpcio cannot bind."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pass_on(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for end, how in ((b, socket.SHUT_WR), (a, socket.SHUT_RD)):
            try:
                end.shutdown(how)
            except OSError:
                pass

    def accept():
        while True:
            client, _ = listening.accept()
            try:
                server = socket.create_connection(target, source_address=(source, 0))
            except OSError:
                client.close()
                continue
            for ends in ((client, server), (server, client)):
                threading.Thread(target=pass_on, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "127.0.0.1:%d" % listening.getsockname()[1]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Client:
    def __init__(self, options):
        host, port = options.to.rsplit(":", 1)
        target = relay((host, int(port)), options.source) if options.source else options.to
        settings = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
        if options.ca:
            with open(options.ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            settings.append(("grpc.ssl_target_name_override", options.authority))
            self.channel = grpc.secure_channel(target, credentials, options=settings)
        else:
            settings.append(("grpc.default_authority", options.authority))
            self.channel = grpc.insecure_channel(target, options=settings)
        self.case = ""

    def method(self, kind, name, service=SERVICE):
        return getattr(self.channel, kind)("/%s/%s" % (service, name))

    def unary(self, request=b"", name="UnaryCall", service=SERVICE, timeout=30, metadata=(), **more):
        metadata = (("x-call", self.case),) + tuple(metadata)
        return self.method("unary_unary", name, service).with_call(request, timeout=timeout, metadata=metadata, **more)

    def duplex(self, requests, timeout=30, metadata=()):
        metadata = (("x-call", self.case),) + tuple(metadata)
        return self.method("stream_stream", "FullDuplexCall")(requests, timeout=timeout, metadata=metadata)

    def error(self, action):
        try:
            action()
        except grpc.RpcError as error:
            return error
        raise AssertionError("the call succeeded")

    def expect_error(self, code, message, action):
        """With `message` None any will do."""
        error = self.error(action)
        what = "%s: %r" % (error.code(), error.details())
        expect(error.code() == code, what)
        expect(message is None or error.details() == message, what)

    # Those of gRPC's interoperability tests.

    def empty_unary(self):
        response, _ = self.unary(name="EmptyCall")
        expect(response == b"", response)

    def large_unary(self):
        request = dump({"response_size": 314159, "body": "0" * 271828})
        response, _ = self.unary(request)
        answer = load(response)
        expect(answer["size"] == len(request), answer["size"])
        expect(answer["body"] == "0" * 314159, len(answer["body"]))

    def client_streaming(self):
        requests = [dump({"body": "0" * size}) for size in (27182, 8, 1828, 45904)]
        response = self.method("stream_unary", "StreamingInputCall")(iter(requests), timeout=30)
        expect(load(response) == {"total": 74922}, response)

    def server_streaming(self):
        sizes = [31415, 9, 2653, 58979]
        request = dump({"responses": [{"size": size} for size in sizes]})
        responses = self.method("unary_stream", "StreamingOutputCall")(request, timeout=30)
        got = [len(load(response)["body"]) for response in responses]
        expect(got == sizes, got)

    def ping_pong(self):
        requests = Requests()
        call = self.duplex(requests)
        for size, answer in ((27182, 31415), (8, 9), (1828, 2653), (45904, 58979)):
            requests.put({"responses": [{"size": answer}], "body": "0" * size})
            expect(len(load(next(call))["body"]) == answer, answer)
        requests.end()
        expect(next(call, None) is None, "more responses than requests")
        expect(call.code() == grpc.StatusCode.OK, call.code())

    def empty_stream(self):
        call = self.duplex(iter(()))
        expect(next(call, None) is None, "a response to nothing")
        expect(call.code() == grpc.StatusCode.OK, call.code())

    def cancel_after_begin(self):
        requests = Requests()
        call = self.method("stream_unary", "StreamingInputCall").future(requests, metadata=(("x-call", self.case),))
        # Of another name, for this call's end is looked for.
        begins = dump({"await": ["StreamingInputCall", self.case]})
        expect(load(self.method("unary_unary", "UnaryCall")(begins, timeout=30)) is True, "the server has no such call")
        call.cancel()
        requests.end()
        expect(call.code() == grpc.StatusCode.CANCELLED, call.code())

    def cancel_after_first_response(self):
        requests = Requests()
        call = self.duplex(requests)
        requests.put({"responses": [{"size": 31415}], "body": "0" * 27182})
        expect(len(load(next(call))["body"]) == 31415, "the response")
        call.cancel()
        error = self.error(lambda: next(call))
        requests.end()
        expect(error.code() == grpc.StatusCode.CANCELLED, error.code())

    def timeout_on_sleeping_server(self):
        requests = Requests()
        call = self.duplex(requests, timeout=1)
        requests.put({"sleep": True, "body": "0" * 27182})
        error = self.error(lambda: next(call))
        requests.end()
        expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code())

    def status_code_and_message(self):
        status = dump({"status": {"code": 2, "message": "test status message"}})
        self.expect_error(grpc.StatusCode.UNKNOWN, "test status message", lambda: self.unary(status))
        call = self.duplex(iter([status]))
        self.expect_error(grpc.StatusCode.UNKNOWN, "test status message", lambda: next(call))

    def special_status_message(self):
        status = dump({"status": {"code": 2, "message": SPECIAL}})
        self.expect_error(grpc.StatusCode.UNKNOWN, SPECIAL, lambda: self.unary(status))

    def custom_metadata(self):
        metadata = (
            ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
            ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
        )

        def look(call):
            initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
            expect(initial.get("x-grpc-test-echo-initial") == "test_initial_metadata_value", initial)
            expect(trailing.get("x-grpc-test-echo-trailing-bin") == b"\xab\xab\xab", trailing)

        response, call = self.unary(dump({"response_size": 314159, "body": "0" * 271828}), metadata=metadata)
        expect(len(load(response)["body"]) == 314159, "the response")
        look(call)
        call = self.duplex(iter([dump({"responses": [{"size": 314159}]})]), metadata=metadata)
        expect(len(list(call)) == 1, "one response")
        look(call)

    def unimplemented_method(self):
        self.expect_error(grpc.StatusCode.UNIMPLEMENTED, None, lambda: self.unary(name="UnimplementedCall"))

    def unimplemented_service(self):
        self.expect_error(
            grpc.StatusCode.UNIMPLEMENTED, None, lambda: self.unary(service="grpc.testing.UnimplementedService")
        )

    # Ours.

    def identity(self):
        forged = (
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("client-attest", "v=1;client=6.6.6.6"),
            ("true-client-ip", "6.6.6.6"),
            ("x-forwarded-proto", "gopher"),
        )
        response, _ = self.unary(name="WhoAmI", metadata=forged)
        print("metadata " + response.decode(), flush=True)
        expect(b"6.6.6.6" not in response and b"gopher" not in response, response)

    def pauses(self):
        """Neither side says anything for longer than `timeouts.idle` and `timeouts.upstream_response`, in every phase of a stream."""
        requests = Requests()
        call = self.duplex(requests, timeout=None)
        for _ in range(3):
            time.sleep(1.6)
            requests.put({"responses": [{"size": 9}], "body": "0" * 8})
            expect(len(load(next(call))["body"]) == 9, "a response")
        # The client is done; the server is not.
        time.sleep(1.6)
        requests.put({"responses": [{"size": 9}, {"size": 9, "after": 1.6}]})
        requests.end()
        expect(len(list(call)) == 2, "two responses")
        expect(call.code() == grpc.StatusCode.OK, call.code())

    def silence(self):
        """Neither side says anything for longer than `timeouts.tunnel`, the response having begun."""
        requests = Requests()
        call = self.duplex(requests, timeout=None)
        requests.put({"responses": [{"size": 9}]})
        expect(len(load(next(call))["body"]) == 9, "a response")
        error = self.error(lambda: next(call))
        requests.end()
        expect(error.code() == grpc.StatusCode.INTERNAL, "%s: %r" % (error.code(), error.details()))

    def silence_before_response(self):
        requests = Requests()
        call = self.duplex(requests, timeout=None)
        error = self.error(lambda: next(call))
        requests.end()
        what = "%s: %r" % (error.code(), error.details())
        expect(error.code() == grpc.StatusCode.UNAVAILABLE and error.details() == "408 Request Timeout", what)

    def sleeping_server(self):
        """Without a deadline of the client's: `timeouts.upstream_response` ends it."""
        call = lambda: self.unary(dump({"sleep": True}), timeout=None)
        self.expect_error(grpc.StatusCode.UNAVAILABLE, "504 Gateway Timeout", call)

    def deadline(self):
        call = lambda: self.unary(dump({"sleep": True}), timeout=1)
        self.expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, None, call)

    def refused(self, code, message, request=b""):
        self.expect_error(code, message, lambda: self.unary(request))
        # Also while the request is still being sent.
        call = self.duplex(Requests())
        if not request:
            self.expect_error(code, message, lambda: next(call))

    def no_route(self):
        self.refused(grpc.StatusCode.UNIMPLEMENTED, "404 Not Found")

    def body_too_large(self):
        error = self.error(lambda: self.unary(dump({"body": "0" * 271828})))
        what = "%s: %r" % (error.code(), error.details())
        expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error.details() == "413 Content Too Large", what)

    def upstream_down(self):
        self.refused(grpc.StatusCode.UNAVAILABLE, "502 Bad Gateway")

    def refused_by_validator(self):
        self.refused(grpc.StatusCode.PERMISSION_DENIED, "403 Forbidden")

    def route_closed(self):
        self.refused(grpc.StatusCode.UNAVAILABLE, "503 Service Unavailable")

    def cancels(self):
        """Streams that are taken back before they are answered, 50 at a time."""
        for _ in range(3):
            calls = []
            for _ in range(50):
                requests = Requests()
                requests.put({"body": "0"})
                calls.append((self.duplex(requests, timeout=None), requests))
            # The last one is at the server; those before it are, too.
            requests.put({"responses": [{"size": 9}]})
            expect(len(load(next(calls[-1][0]))["body"]) == 9, "a response")
            for call, requests in calls:
                call.cancel()
                requests.end()

    def calls(self):
        """Calls in a row, until standard input ends; not one may fail. A server of this library that is told to stop answers CANCELLED
        to what reaches it before its GOAWAY is read."""
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        made = 0
        while not ended.is_set():
            try:
                self.unary(dump({"response_size": 100}))
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.CANCELLED:
                    raise
                print("cancelled", flush=True)
                continue
            made += 1
            if made in (1, 20):
                print("made %d" % made, flush=True)
        expect(made >= 20, made)

    def hold(self):
        """A stream, a message now and then, until standard input ends."""
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        requests = Requests()
        call = self.duplex(requests, timeout=None)
        first = True
        while True:
            last = ended.wait(0.05)
            requests.put({"responses": [{"size": 9}], "body": "0" * 8})
            expect(len(load(next(call))["body"]) == 9, "a response")
            if first:
                print("open", flush=True)
            first = False
            if last:
                break
        requests.end()
        expect(next(call, None) is None and call.code() == grpc.StatusCode.OK, call.code())


class Requests:
    """An iterator that is filled while it is read."""

    def __init__(self):
        self.condition = threading.Condition()
        self.items = []
        self.ended = False

    def put(self, value):
        with self.condition:
            self.items.append(dump(value))
            self.condition.notify()

    def end(self):
        with self.condition:
            self.ended = True
            self.condition.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self.condition:
            while not self.items and not self.ended:
                self.condition.wait()
            if not self.items:
                raise StopIteration
            return self.items.pop(0)


def call(options):
    client = Client(options)
    failed = False
    for case in options.cases:
        client.case = case
        try:
            getattr(client, case)()
            print("pass %s" % case, flush=True)
        except Exception as error:
            failed = True
            print("fail %s: %s %s" % (case, type(error).__name__, str(error).replace("\n", " ")), flush=True)
    # Iterators of calls that were refused wait for ever.
    sys.stdout.flush()
    os._exit(1 if failed else 0)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("serve")
    one.add_argument("--listen", default="127.0.0.1:0")
    one.add_argument("--certificate")
    one.add_argument("--key")
    one.add_argument("--health", default="/dev/null")
    one = commands.add_parser("call")
    one.add_argument("--to", required=True)
    one.add_argument("--ca")
    one.add_argument("--authority", default="app.example.com")
    one.add_argument("--from", dest="source")
    one.add_argument("cases", nargs="+")
    options = parser.parse_args()
    serve(options) if options.command == "serve" else call(options)


main()
