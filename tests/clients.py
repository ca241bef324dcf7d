#!/usr/bin/env python3
"""Holds the simulators to the providers' own clients: fal-client and huggingface_hub.

    tests/clients.py target/debug/sim       (tests/run clients makes an environment that has them)

The clients run as they are, with the real hosts' names: each simulator speaks TLS with a certificate
for those names, and a proxy on loopback leads every connection to it. Nothing goes anywhere else.

Prints what was checked and ends with 1 at the first mistake.
"""

import contextlib
import io
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

FAL_KEY = "sim-id:sim-secret"
HF_TOKEN = "hf_simtoken"
QUICKLY = 30  # seconds; everything here takes less than three


def check(holds, mistake):
    if not holds:
        raise SystemExit(f"mistake: {mistake}")


# --- a simulator, and the way to it --------------------------------------------------------------


class Simulator:
    """A simulator that is running, as its operator sees it."""

    def __init__(self, base, authority):
        self.base = base
        self.port = int(base.rsplit(":", 1)[1])
        self.trust = ssl.create_default_context(cafile=authority)

    def admin(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/admin/{path}", data)
        request.add_header("content-type", "application/json")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trust)
        )
        with opener.open(request, timeout=QUICKLY) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def accepted(self):
        return self.admin("requests")["requests"]


def lead(stranger, port):
    """Answers one CONNECT, wherever it wants to go, and copies both ways until one side ends."""
    with contextlib.suppress(OSError), stranger:
        head = b""
        while b"\r\n\r\n" not in head:
            more = stranger.recv(4096)
            if not more:
                return
            head += more
        if not head.startswith(b"CONNECT "):
            stranger.sendall(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port)) as simulator:
            stranger.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                for ready in select.select([stranger, simulator], [], [])[0]:
                    part = ready.recv(65536)
                    if not part:
                        return
                    (simulator if ready is stranger else stranger).sendall(part)


def open_proxy(port):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            stranger, _ = listener.accept()
            threading.Thread(target=lead, args=(stranger, port), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def simulated(binary, service):
    """Runs a simulator; meanwhile every client of this process is led to it."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [binary, service, "--port", "0", "--tls", folder], stdout=subprocess.PIPE, text=True
        )
        try:
            first = process.stdout.readline()
            found = re.search(r"https://127\.0\.0\.1:\d+", first)
            check(found, f"{service}: the simulator did not start: {first!r}")
            simulator = Simulator(found[0], f"{folder}/ca.pem")
            os.environ["SSL_CERT_FILE"] = f"{folder}/ca.pem"
            os.environ["HTTPS_PROXY"] = open_proxy(simulator.port)
            yield simulator
        finally:
            process.terminate()
            process.wait()


# --- what came of it -----------------------------------------------------------------------------


def check_media(what, data, moves):
    """The file decodes; a film has more than one frame."""
    from PIL import Image, ImageSequence

    frames = 0
    with Image.open(io.BytesIO(data)) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
            frames += 1
        check(min(image.size) >= 32, f"{what}: a picture of {image.size}")
        size, kind = image.size, image.format
    check(frames > 1 if moves else frames == 1, f"{what}: {frames} frames")
    return f"{kind} {size[0]} x {size[1]}, {frames} frame(s)"


def check_accepted(what, simulator, before, model, prompt, authorization):
    """One request more, with this model, prompt and header, and it is billed."""
    new = simulator.accepted()[before:]
    check(len(new) == 1, f"{what}: {len(new)} requests were accepted")
    [request] = new
    check(request["model"] == model, f"{what}: it was sent to {request['model']}")
    check(request["input"].get("prompt") == prompt, f"{what}: {request['input']}")
    check(request["authorization"] == authorization, f"{what}: {request['authorization']}")
    check(request["ended"] == "succeeded", f"{what}: it ended as {request['ended']}")
    check(request["billed_units"] > 0, f"{what}: it is not billed")


def refused(what, error, status, work):
    """The client reads the refusal as what it is."""
    try:
        work()
    except error as refusal:
        found = getattr(refusal, "status_code", None) or refusal.response.status_code
        check(found == status, f"{what}: {found} instead of {status}: {refusal}")
        return refusal
    raise SystemExit(f"mistake: {what}: it was not refused")


# --- fal.ai --------------------------------------------------------------------------------------


def fal(simulator):
    import fal_client
    import httpx

    client = fal_client.SyncClient(key=FAL_KEY)
    picture, film = "fal-ai/flux/schnell", "fal-ai/kling-video/v2.1/standard/text-to-video"

    def download(file):
        answer = httpx.get(file["url"])
        check(answer.status_code == 200, f"fal: {file['url']} answered {answer.status_code}")
        check(answer.headers["content-type"] == file["content_type"], f"fal: {file}")
        return answer.content

    # A picture, by the call that people use: submit, look until it is done, read the result.
    seen = []
    arguments = {"prompt": "a tomato", "image_size": "square", "num_images": 1}
    result = client.subscribe(
        picture, arguments, with_logs=True, on_queue_update=seen.append, client_timeout=QUICKLY
    )
    [image] = result["images"]
    shown = check_media("fal picture", download(image), moves=False)
    check((image["width"], image["height"]) == (512, 512), f"fal picture: {image}")
    check(result["has_nsfw_concepts"] == [False], f"fal picture: {result}")
    check(isinstance(seen[-1], fal_client.Completed), f"fal picture: it ended as {seen[-1]}")
    check_accepted("fal picture", simulator, 0, picture, "a tomato", f"Key {FAL_KEY}")
    print(f"fal-client: a picture ({shown})")

    # A film, by hand; every state is shown on the way.
    arguments = {"prompt": "a film", "duration": "5"}
    simulator.admin("hold/true", {})
    handle = client.submit(film, arguments, start_timeout=QUICKLY, priority="low")
    states = []
    for state in handle.iter_events(with_logs=True, interval=0.02):
        states.append(type(state).__name__)
        if states[-1] == "InProgress" and states.count("InProgress") == 1:
            simulator.admin("hold/false", {})
            threading.Thread(target=simulator.admin, args=("finish", {})).start()
    once = list(dict.fromkeys(states))
    check(once == ["Queued", "InProgress", "Completed"], f"fal film: it went {once}")
    result = handle.get()
    shown = check_media("fal film", download(result["video"]), moves=True)
    check_accepted("fal film", simulator, 1, film, "a film", f"Key {FAL_KEY}")
    # Whoever has only the id finds it too.
    check(client.result(film, handle.request_id) == result, "fal film: another result by its id")
    print(f"fal-client: a film ({shown})")

    # What is refused, before and after it was accepted.
    wrong = fal_client.SyncClient(key="nobody")
    refused("fal, a wrong key", fal_client.FalClientHTTPError, 401,
            lambda: wrong.submit(picture, {"prompt": "x"}))  # fmt: skip
    simulator.admin("lock/true", {})
    locked = refused("fal, a locked account", fal_client.FalClientHTTPError, 403,
                     lambda: client.submit(picture, {"prompt": "x"}))  # fmt: skip
    check("locked" in str(locked), f"fal, a locked account: {locked}")
    simulator.admin("lock/false", {})
    unknown = client.get_handle(picture, "00000000-0000-4000-8000-000000000000")
    refused("fal, an unknown request", fal_client.FalClientHTTPError, 404, unknown.status)
    check(len(simulator.accepted()) == 2, "fal: what was refused was accepted")

    # One that fails is completed, and its result is the error.
    size = {"prompt": "wide", "image_url": f"{simulator.base}/files/none/0.png"}
    handle = client.submit("fal-ai/flux/dev/image-to-image", size)
    *_, last = handle.iter_events(with_logs=True)
    check(last.error, f"fal, a failed request: {last}")
    failed = refused("fal, a failed request", fal_client.FalClientHTTPError, 422, handle.get)
    check("file_download_error" in str(failed), f"fal, a failed request: {failed}")

    # Canceled while it runs; afterwards it is too late.
    simulator.admin("hold/true", {})
    handle = client.submit(picture, {"prompt": "never mind"})
    handle.cancel()
    *_, last = handle.iter_events()
    check(last.error, f"fal, canceled: {last}")
    refused("fal, canceled too late", fal_client.FalClientHTTPError, 400, handle.cancel)
    check(simulator.accepted()[-1]["ended"] == "canceled", "fal: it was not canceled")
    print("fal-client: refused, failed and canceled requests are told apart")


# --- Hugging Face --------------------------------------------------------------------------------


def huggingface(simulator):
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError

    picture, film = "black-forest-labs/FLUX.1-schnell", "Wan-AI/Wan2.2-T2V-A14B"
    names = {
        "fal-ai": ("fal-ai/flux.1-schnell", "fal-ai/wan2.2-t2v-a14b/text-to-video"),
        "replicate": ("sim/flux.1-schnell", "sim/wan2.2-t2v-a14b"),
        "together": (picture, film),
        "wavespeed": ("wavespeed-ai/flux.1-schnell", "wavespeed-ai/wan2.2-t2v-a14b"),
        "hf-inference": (picture, None),
    }
    header, count = f"Bearer {HF_TOKEN}", 0
    for provider, (picture_there, film_there) in names.items():
        client = InferenceClient(provider=provider, api_key=HF_TOKEN, timeout=QUICKLY)
        what = f"huggingface, {provider}"
        image = client.text_to_image(f"a tomato at {provider}", model=picture)
        data = io.BytesIO()
        image.save(data, "PNG")
        shown = check_media(what, data.getvalue(), moves=False)
        prompt = f"a tomato at {provider}"
        check_accepted(what, simulator, count, picture_there, prompt, header)
        count += 1
        if film_there:
            video = client.text_to_video(f"a film at {provider}", model=film)
            shown += "; " + check_media(what, video, moves=True)
            prompt = f"a film at {provider}"
            check_accepted(what, simulator, count, film_there, prompt, header)
            count += 1
        print(f"huggingface_hub: {provider} ({shown})")

    wrong = InferenceClient(provider="together", api_key="hf_nobody")
    refused("huggingface, a wrong token", HfHubHTTPError, 401,
            lambda: wrong.text_to_image("x", model=picture))  # fmt: skip
    simulator.admin("lock/true", {})
    client = InferenceClient(provider="fal-ai", api_key=HF_TOKEN)
    refused("huggingface, no credits", HfHubHTTPError, 402,
            lambda: client.text_to_video("x", model=film))  # fmt: skip
    books = simulator.admin("requests")
    check(len(books["requests"]) == count, "huggingface: what was refused was accepted")
    check(books["leaks"] == 0, "huggingface: a token was shown to a file server")
    print("huggingface_hub: refusals are told apart")


def main():
    binary = str(Path(sys.argv[1]).resolve(strict=True))
    # Neither the user's own settings nor the network outside have a part in this.
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("FAL_", "HF_", "HUGGING")):
            del os.environ[name]
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"HOME": home, "HF_HOME": home, "HF_HUB_DISABLE_TELEMETRY": "1"}
        for service, work in [("fal", fal), ("huggingface", huggingface)]:
            with simulated(binary, service) as simulator:
                work(simulator)
    print("the providers' own clients: ok")


if __name__ == "__main__":
    main()
