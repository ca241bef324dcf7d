"""What schemathesis has to be told: who it is, and what a request that works looks like.

The user is disposable. A run may revoke its key or delete its account; then the next request is
made as somebody new. The schema says that a model's name is a text and its input an object, which
random texts never get right, so most of the well-formed submits become ones for a real model.
"""

import json
import os
import subprocess
import threading
import uuid

import schemathesis

SETUP = json.loads(os.environ["TIKTOMATO_HOOKS"])
INPUTS = [
    {"prompt": "a tomato"},
    {"prompt": "two tomatoes", "width": 64, "height": 64, "seed": 7, "count": 2},
    {"prompt": "late", "width": 64, "height": 64, "delay_seconds": 1},
    {"prompt": "never", "width": 64, "height": 64, "fail": "rejected"},
]


class Person:
    """Somebody with credits and a key; another one once this one is gone."""

    def __init__(self):
        self.lock = threading.Lock()
        self.key = None

    def admin(self, *arguments):
        command = [SETUP["binary"], "admin", "--json", *arguments]
        done = subprocess.run(command, env=SETUP["env"], capture_output=True, check=True)
        return json.loads(done.stdout)

    def current(self):
        with self.lock:
            if self.key is None:
                email = f"{uuid.uuid4().hex}@example.com"
                self.admin("create-user", "--email", email, "--name", "Schema")
                grant = ["--user", email, "--credits", "100000", "--reason", "test"]
                self.admin("grant-credits", *grant)
                if SETUP["operator"]:
                    self.admin("set-role", "--user", email, "--role", "operator")
                self.key = self.admin("create-key", "--user", email)["key"]
            return self.key

    def lost(self, key):
        with self.lock:
            if self.key == key:
                self.key = None


PERSON = Person()


@schemathesis.auth(refresh_interval=None)
class Key:
    def get(self, case, context):
        return PERSON.current()

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context, case, response):
    sent = response.request.headers.get("Authorization", "")
    if response.status_code == 401 and isinstance(sent, str):
        PERSON.lost(sent.removeprefix("Bearer "))


# The smallest PNG: one grey pixel.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
)


@schemathesis.hook
def map_body(context, body):
    if context.operation.path == "/v1/uploads" and isinstance(body, bytes) and body:
        return PICTURE if body[0] % 2 else body
    submits = context.operation.path in ("/v1/jobs", "/v1/jobs/quote")
    if not submits or not isinstance(body, dict):
        return body
    model, input = body.get("model"), body.get("input")
    # What is wrong on purpose stays wrong.
    if isinstance(model, str) and isinstance(input, dict):
        turn = sum(model.encode("utf-8", "replace")) % 5
        if turn < len(INPUTS):
            body = {**body, "model": "demo/sketch", "input": INPUTS[turn]}
    return body
