#!/usr/bin/env python3
"""Brings programs that are neither on Debian nor small: recorders and tests use them.

    programs.py install [NAME …]   into the cache, and a link into /usr/local/bin
    programs.py path NAME          prints where the cache has it

Go programs are built from published modules in a throw-away module in the
cache; Python ones live in a virtual environment there. No foreign source enters
the repository. What is there already is left alone.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import common

HERE = common.REPO / "scripts" / "record"
KUBERNETES, STAGING = "1.36.1", "0.36.1"
COLLECTOR, CONTRIB = "v0.165.0", "v0.165.1"


def go_program(name, version, requires, flags=(), prepare=None):
    """Builds scripts/record/_<name>/main.go against the given modules."""
    work = common.cache_dir(f"{name}-{version}")
    binary = work / name
    if binary.exists():
        return binary
    env = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    extra = prepare(work, env) if prepare else ""
    required = "".join(f"require {m} {v}\n" for m, v in requires)
    (work / "go.mod").write_text(f"module recorder\n\ngo 1.26.0\n\n{required}\n{extra}")
    shutil.copy(HERE / f"_{name}" / "main.go", work / "main.go")
    subprocess.run(["go", "mod", "tidy", "-e"], cwd=work, env=env, check=True)
    fresh = work / (name + ".new")
    subprocess.run(["nice", "-n", "10", "go", "build", "-trimpath", *flags, "-o", fresh, "."], cwd=work, env=env, check=True)
    fresh.rename(binary)  # an interrupted build leaves none
    return binary


def published_staging(work, env):
    """The published module points at folders it does not ship; point at the published modules instead."""
    info = subprocess.run(["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"], cwd=work, env=env,
                          check=True, capture_output=True).stdout
    gomod = pathlib.Path(json.loads(info)["GoMod"]).read_text(encoding="utf-8")
    staging = [line.split()[0] for line in gomod.splitlines() if "=> ./staging/" in line]
    return "".join(f"replace {m} => {m} v{STAGING}\n" for m in staging)


def kube_apiserver():
    version = " ".join(f"-X k8s.io/{m}.gitVersion=v{KUBERNETES}" for m in ("component-base/version", "client-go/pkg/version"))
    return go_program("kube-apiserver", KUBERNETES, [("k8s.io/kubernetes", "v" + KUBERNETES)],
                      flags=["-ldflags", "-s -w " + version], prepare=published_staging)


def otelcol():
    core = ["otelcol", "receiver/otlpreceiver", "exporter/otlpexporter", "exporter/otlphttpexporter", "processor/batchprocessor"]
    return go_program("otelcol", COLLECTOR, [
        *((f"go.opentelemetry.io/collector/{m}", COLLECTOR) for m in core),
        ("github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver", CONTRIB),
    ], flags=["-ldflags", "-s -w"])


def litellm():
    return pathlib.Path(common.venv("python", common.PYTHON_PACKAGES)).parent / "litellm"


PROGRAMS = {"kube-apiserver": kube_apiserver, "litellm": litellm, "otelcol": otelcol}


def main(args):
    match args:
        case ["path", name] if name in PROGRAMS:
            print(PROGRAMS[name]())
        case ["install", *names] if all(n in PROGRAMS for n in names):
            for name in names or PROGRAMS:
                print(f"{name}: building or installing, once; this takes minutes", file=sys.stderr)
                binary, link = PROGRAMS[name](), pathlib.Path("/usr/local/bin") / name
                link.unlink(missing_ok=True)
                link.symlink_to(binary)
        case _:
            raise SystemExit(f"usage: programs.py install [NAME …] | path NAME; the names are {', '.join(PROGRAMS)}")


if __name__ == "__main__":
    main(sys.argv[1:])
