"""Holds a running server to its own description: schemathesis makes requests out of
`/openapi.json`, follows ids from one answer into the next request, and judges every answer.

    run.py BINARY [--requests N] [--examples N] [--seed N]

Starts the binary with everything in one process in a folder of its own, makes users and things
that they own, and lets schemathesis loose, twice: as a user, and on `/v1/admin` as an operator.
With `--requests` it repeats with the next seed until the server has counted that many. Fails
when an answer is a 5xx or not as described, when the server complained of an error of its own,
or when an invariant of the ledger is broken afterwards.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
READY_SECONDS = 60


class Server:
    """One process that runs everything, and its admin commands."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder
        self.listen, self.ops = free_ports(2)
        self.base = f"http://{self.listen}"
        self.env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": tempfile.gettempdir(),
            "TIKTOMATO_DATA": str(folder / "data"),
            "TIKTOMATO__GATEWAY__LISTEN": self.listen,
            "TIKTOMATO__GATEWAY__PUBLIC_URL": self.base,
            "TIKTOMATO__OPS__LISTEN": self.ops,
            "TIKTOMATO__DEMO__ENABLED": "false",
            # A run is one client that asks as fast as it can.
            "TIKTOMATO__LIMITS__REQUESTS_PER_ADDRESS": "0",
            "TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS": "0",
            "TIKTOMATO__LIMITS__REQUESTS_PER_KEY": "0",
            "TIKTOMATO__LIMITS__REQUESTS_PER_WORKSPACE": "0",
            "RUST_LOG": "warn",
            "NO_COLOR": "1",
        }
        self.log = folder / "server.log"
        self.process = None

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.binary], env=self.env, cwd=self.folder, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.get(self.ops, "/readyz")
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server is not ready:\n{self.log.read_text()}")
            time.sleep(0.1)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def get(self, address, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}{path}", timeout=10) as answer:
            return answer.read().decode()

    def admin(self, *arguments):
        command = [self.binary, "admin", "--json", *arguments]
        done = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True)
        if not done.stdout:
            sys.exit(f"{arguments}: {done.stderr.decode()}")
        return json.loads(done.stdout)

    def requests(self):
        """How many requests the server counted, and the statuses of its answers."""
        total, statuses = 0, {}
        for line in self.get(self.ops, "/metrics").splitlines():
            if line.startswith("tiktomato_http_requests_total{"):
                count = int(float(line.rsplit(" ", 1)[1]))
                status = re.search(r'status="(\d+)"', line)[1]
                statuses[status] = statuses.get(status, 0) + count
                total += count
        return total, dict(sorted(statuses.items()))

    def complaints(self):
        """Lines of the log in which the server found fault with itself."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if " ERROR " in line or "panicked" in line]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def schemathesis(server, folder, seed, examples, who, filters):
    """One pass; whether it found nothing."""
    env = {
        **server.env,
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TIKTOMATO_HOOKS": json.dumps(
            {"binary": server.binary, "env": server.env, "operator": who == "operator"}
        ),
    }
    print(f"\n--- as {who}, seed {seed}", flush=True)
    command = [
        str(pathlib.Path(sys.executable).with_name("schemathesis")),
        "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{server.base}/openapi.json", "--url", server.base,
        "--seed", str(seed), "--max-examples", str(examples), "--no-color", *filters,
    ]  # fmt: skip
    return subprocess.run(command, env=env, cwd=folder).returncode == 0


def has_admin(server):
    paths = json.loads(server.get(server.listen, "/openapi.json"))["paths"]
    return any(path.startswith("/v1/admin") for path in paths)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("binary", type=lambda path: str(pathlib.Path(path).resolve()))
    options.add_argument("--requests", type=int, default=0)
    options.add_argument("--examples", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="schema."))
    server = Server(options.binary, folder)
    began, faults, seed = time.monotonic(), [], options.seed
    try:
        server.start()
        passes = [("a user", ["--exclude-path-regex", "^/v1/admin"])]
        if has_admin(server):
            passes.append(("operator", ["--include-path-regex", "^/v1/admin"]))
        while True:
            for who, filters in passes:
                if not schemathesis(server, folder, seed, options.examples, who, filters):
                    faults.append(f"schemathesis found something (as {who}, seed {seed})")
            total, statuses = server.requests()
            if total >= options.requests or faults:
                break
            seed += 1
        seconds = time.monotonic() - began
        print(f"\n{total} requests in {seconds:.0f} s, answers by status: {statuses}")
        if total < 200:
            faults.append("too few requests to say anything")
        if statuses.get("200", 0) + statuses.get("202", 0) < 20:
            faults.append("almost nothing was understood: what is tested?")
        report = server.admin("reconcile")
        if report != {"ok": True, "violations": []}:
            faults.append(f"reconcile: {report}")
        faults += server.complaints()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
