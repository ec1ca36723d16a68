#!/usr/bin/env python3
"""gRPC's own server and client (python3-grpcio): bidirectional calls that go on, each message checked byte by byte when it comes back.

  calls.py serve                                 says `listening PORT`
  calls.py call PORT CA NAME CALLS SECONDS       keeps so many calls open, half of them from first to last and half for SECONDS each, until
                                                 standard input ends; says `open` when all are, and at the end a line of JSON
"""

import json
import os
import random
import sys
import threading
import time
from concurrent import futures

try:
    import grpc
except ImportError:
    sys.exit("grpcio is not installed: apt-get install python3-grpcio")

METHOD = "/reload.Echo/Talk"
CHANNELS = 5
PAUSE_SECONDS = 0.25
# So long a message may take to come back.
PATIENCE = 30


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(self.talk) if details.method == METHOD else None

    def talk(self, requests, context):
        context.send_initial_metadata(())
        yield from requests


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=256), handlers=[Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening {port}", flush=True)
    server.wait_for_termination()


class Requests:
    """An iterator that is filled while it is read."""

    def __init__(self):
        self.condition, self.items, self.is_ended = threading.Condition(), [], False

    def put(self, item=None):
        with self.condition:
            if item is None:
                self.is_ended = True
            else:
                self.items.append(item)
            self.condition.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self.condition:
            while not self.items and not self.is_ended:
                self.condition.wait()
            if not self.items:
                raise StopIteration
            return self.items.pop(0)


class Calls:
    def __init__(self, port, ca, name, count, seconds):
        with open(ca, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        options = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", name),
                   ("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) for _ in range(CHANNELS)]
        self.count, self.seconds, self.is_over = count, seconds, threading.Event()
        self.lock = threading.Lock()
        self.opened = self.ended = self.messages = self.octets = 0
        self.dropped, self.wrong = [], []
        self.running = set()

    def run(self):
        def until_end():
            sys.stdin.read()
            self.is_over.set()

        threading.Thread(target=until_end, daemon=True).start()
        threads = [threading.Thread(target=self.keep, args=(number,)) for number in range(self.count)]
        for thread in threads:
            thread.start()
        while len(self.running) < self.count and not self.dropped:
            time.sleep(0.05)
        print("open", flush=True)
        for thread in threads:
            thread.join()
        print(json.dumps({"opened": self.opened, "ended": self.ended, "messages": self.messages, "bytes": self.octets,
                          "dropped": self.dropped, "wrong": self.wrong}), flush=True)
        os._exit(0)

    def keep(self, number):
        while not self.is_over.is_set():
            lasts = number % 2 == 0
            try:
                self.converse(number, None if lasts else self.seconds * random.uniform(0.5, 1.5))
            except grpc.RpcError as error:
                with self.lock:
                    self.dropped.append(f"call {number}: {error.code()}: {error.details()}")
                # Not as fast as the processor can.
                time.sleep(1)

    def converse(self, number, seconds):
        with self.lock:
            self.opened += 1
        requests = Requests()
        call = self.channels[number % CHANNELS].stream_stream(METHOD)(requests, timeout=None)
        until = time.monotonic() + seconds if seconds else float("inf")
        try:
            while True:
                message = random.randbytes(random.randint(1, 4_000))
                timer = threading.Timer(PATIENCE, call.cancel)
                timer.start()
                requests.put(message)
                try:
                    answer = next(call)
                finally:
                    timer.cancel()
                with self.lock:
                    self.messages += 1
                    self.octets += len(answer)
                    if answer != message:
                        self.wrong.append(f"call {number}: {len(answer)} bytes came back for {len(message)}")
                    self.running.add(number)
                if self.is_over.is_set() or time.monotonic() > until:
                    break
                self.is_over.wait(PAUSE_SECONDS)
        finally:
            requests.put()
        rest = list(call)
        with self.lock:
            self.ended += 1
            if rest or call.code() != grpc.StatusCode.OK:
                self.wrong.append(f"call {number}: {len(rest)} messages too many, {call.code()}")


if sys.argv[1] == "serve":
    serve()
else:
    Calls(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), float(sys.argv[6])).run()
