#!/usr/bin/env python3
"""Checks the files of config/deploy, config/prometheus and config/grafana without starting anything.

    tests/deploy.py target/debug/tiktomato

Prints every mistake and ends with 1 if there is one. What needs a tool that is not on the machine
(promtool, systemd-analyze, Docker Compose) is named as skipped.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"
DEPLOY = CONFIG / "deploy"
mistakes = []


def check(holds, mistake):
    if not holds:
        mistakes.append(mistake)
    return holds


def command(name, *arguments, **options):
    """Runs a command; a failure is a mistake that carries what it printed."""
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=120, check=False, **options
    )
    check(done.returncode == 0, f"{name}: {(done.stdout + done.stderr).strip()}")


def skipped(what, why):
    print(f"skipped: {what} ({why})")


# --- metrics -------------------------------------------------------------------------------------


def metrics_in_code():
    """Every string in the code, so that a metric is known however it is put together there."""
    strings = set()
    for file in ROOT.glob("*/src/**/*.rs"):
        strings.update(re.findall(r'"([a-z][a-z_]+)"', file.read_text()))
    return {s if s.startswith("tiktomato_") else f"tiktomato_{s}" for s in strings}


def check_metrics(where, expression, known):
    used = re.findall(r"\btiktomato_[a-z_]+", expression)
    for name in used:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        check(name in known or base in known, f"{where}: the code has no metric {name}")
    return len(used)


def check_alerts(known):
    groups = yaml.safe_load((CONFIG / "prometheus/alerts.yml").read_text())["groups"]
    used = 0
    for rule in (rule for group in groups for rule in group["rules"]):
        where = f"alert {rule['alert']}"
        used += check_metrics(where, rule["expr"], known)
        check(rule["labels"]["severity"] in ("critical", "warning"), f"{where}: severity")
        check(rule["annotations"].get("summary"), f"{where}: no summary")
    check(used > 0, "alerts.yml uses no metric")


def check_dashboards(known):
    datasources = yaml.safe_load(
        (CONFIG / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    uids = {source["uid"] for source in datasources}
    dashboards = sorted((CONFIG / "grafana/dashboards").glob("*.json"))
    check(dashboards, "there is no dashboard")
    for file in dashboards:
        dashboard = json.loads(file.read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        check(len(ids) == len(set(ids)), f"{file.name}: two panels have the same id")
        for variable in dashboard["templating"]["list"]:
            check_metrics(f"{file.name}: {variable['name']}", json.dumps(variable["query"]), known)
        for panel in dashboard["panels"]:
            where = f"{file.name}: {panel['title']}"
            if panel["type"] != "row":
                check(panel.get("targets"), f"{where}: no query")
            for target in panel.get("targets", []):
                check(target["datasource"]["uid"] in uids, f"{where}: unknown data source")
                check(check_metrics(where, target["expr"], known), f"{where}: no metric of ours")


def check_prometheus():
    folder = CONFIG / "prometheus"
    settings = yaml.safe_load((folder / "prometheus.yml").read_text())
    for name in settings["rule_files"]:
        check((folder / name).is_file(), f"prometheus.yml: there is no {name}")
    if shutil.which("promtool"):
        command("promtool", "promtool", "check", "config", str(folder / "prometheus.yml"))
    else:
        skipped("the syntax of alert expressions", "no promtool")


# --- containers ----------------------------------------------------------------------------------


def check_dockerfile():
    lines = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text()).splitlines()
    instructions = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    copied = set()
    for name, rest in instructions:
        if name == "FROM":
            check(re.match(r"\S+:(?!latest)\S", rest), f"Dockerfile: {rest}: no version")
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                copied.add(source)
                check((ROOT / source).exists(), f"Dockerfile: COPY {source}: no such file")
    workspace = re.search(r"^members = (\[.*\])", (ROOT / "Cargo.toml").read_text(), re.M)
    for member in json.loads(workspace.group(1)):
        folder = "src" if member == "." else member.split("/")[0]
        check(folder in copied, f"Dockerfile: the workspace's {folder} is not copied")
    stages = [rest for name, rest in instructions if name == "FROM"]
    check(len(stages) >= 2, "Dockerfile: it is built in one stage, so the compiler is shipped")
    last = {name: rest for name, rest in instructions}
    check(last.get("ENTRYPOINT") == '["tiktomato"]', "Dockerfile: the entry point is not tiktomato")
    user = last.get("USER", "root")
    check(user.split(":")[0] not in ("root", "0"), "Dockerfile: it runs as root")


SERVICES = {"postgres", "redis", "migrate", "gateway", "workers", "scheduler", "prometheus", "grafana"}


def check_compose(binary):
    file = DEPLOY / "docker-compose.yml"
    compose = yaml.safe_load(file.read_text())
    for name in SERVICES - compose["services"].keys():
        check(False, f"docker-compose.yml: there is no {name}")
    for name, service in compose["services"].items():
        where = f"docker-compose.yml: {name}"
        for dependency in service.get("depends_on", {}):
            check(dependency in compose["services"], f"{where} depends on {dependency}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                check((DEPLOY / source).exists(), f"{where}: there is no {source}")
            else:
                check(source in compose["volumes"], f"{where}: volume {source} is not declared")
        for port in service.get("ports", []):
            check(port.startswith("127.0.0.1:"), f"{where}: port {port} is open to everybody")
        if service["image"] == "tiktomato":
            dockerfile = DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
            check(dockerfile.is_file(), f"{where}: no Dockerfile")
            for wanted in ("restart", "stop_grace_period", "sysctls"):
                check(wanted in service, f"{where}: no {wanted}")
            command(where, binary, *service["command"], "--help")
        else:
            check(re.search(r":v?\d", service["image"]), f"{where}: image without a version")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        skipped("docker compose config", "no Docker Compose")
    else:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
            example = (DEPLOY / "env.example").read_text()
            (Path(folder) / "deploy/.env").write_text(re.sub(r"=$", "=secret", example, flags=re.M))
            command(
                "docker compose config", "docker", "compose",
                "--file", f"{folder}/deploy/docker-compose.yml", "config", "--quiet",
            )  # fmt: skip


def check_example(binary):
    """Every setting that the example names must be one that the program knows."""
    env = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgres://tiktomato:secret@127.0.0.1:5432/tiktomato",
        "REDIS_URL": "redis://127.0.0.1:6379",
    }
    for line in (DEPLOY / "env.example").read_text().splitlines():
        if found := re.fullmatch(r"#?([A-Z][A-Z0-9_]*)=(.*)", line):
            env.setdefault(found[1], found[2] or "0123456789abcdef" * 4)
    check("TIKTOMATO__SECRETS__MASTER" in env, "env.example: no TIKTOMATO__SECRETS__MASTER")
    command("env.example", binary, "check-config", env=env)


# --- systemd -------------------------------------------------------------------------------------


def check_units(binary):
    units = sorted((DEPLOY / "systemd").glob("*.service"))
    check(len(units) == 3, "there are not three systemd units")
    ports = set()
    with tempfile.TemporaryDirectory() as folder:
        for unit in units:
            text = unit.read_text()
            start = re.search(r"^ExecStart=(\S+) (.*)$", text, re.M)
            arguments = start[2].replace("%i", "demo").replace("${CALLS}", "1").split()
            command(unit.name, binary, *arguments, "--help")
            ports.update(re.findall(r"OPS__LISTEN=\S+:(\d+)", text))
            # The installed path does not exist here; the binary just built stands in for it.
            name = unit.name.replace("@.", "@demo.")
            (Path(folder) / name).write_text(text.replace(start[1], binary))
        check(len(ports) == len(units), "two systemd units listen on the same operations port")
        if shutil.which("systemd-analyze"):
            files = sorted(str(file) for file in Path(folder).iterdir())
            # It ends with 0 even where it ignores a line, and complains about other units too.
            verified = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *files],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            for line in verified.stderr.splitlines():
                check(folder not in line and "tiktomato" not in line, f"systemd: {line}")
        else:
            skipped("the syntax of systemd units", "no systemd-analyze")


def main():
    binary = str(Path(sys.argv[1]).resolve(strict=True))
    known = metrics_in_code()
    check_alerts(known)
    check_dashboards(known)
    check_prometheus()
    check_dockerfile()
    check_compose(binary)
    check_example(binary)
    check_units(binary)
    for mistake in mistakes:
        print(f"mistake: {mistake}", file=sys.stderr)
    if not mistakes:
        print("deploy files: ok")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
