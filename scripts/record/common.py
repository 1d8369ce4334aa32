"""What the recorders share: places, ports, programs and the final check."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from corpus import KEYS, WRONG_KEY

REPO = pathlib.Path(__file__).resolve().parents[2]


def cache_dir(name):
    """A directory outside the repository for what a recorder installs."""
    base = os.environ.get("VAGUS_RECORD_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vagus-record")
    path = pathlib.Path(base) / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def testdata(source):
    """Where a source's recordings go; $VAGUS_RECORD_OUT puts them elsewhere, to compare."""
    base = os.environ.get("VAGUS_RECORD_OUT")
    path = (pathlib.Path(base) if base else REPO / "schemas" / "sources") / source / "testdata"
    path.mkdir(parents=True, exist_ok=True)
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def venv(name, packages):
    """A virtual environment that holds packages; made once, then reused.

    Returns the path of its python. The stamp names the packages, so a changed
    list is installed again.
    """
    path = cache_dir(name) / "venv"
    python = path / "bin" / "python"
    stamp = path / "packages.txt"
    want = "\n".join(packages)
    if not (stamp.exists() and stamp.read_text() == want):
        subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        stamp.write_text(want)
    return str(python)


def inside_venv(name, packages):
    """Re-runs this script with the python of the virtual environment."""
    python = venv(name, packages)
    if os.environ.get("VAGUS_RECORD_VENV") != name:
        os.environ["VAGUS_RECORD_VENV"] = name
        os.execv(python, [python, *sys.argv])


def wait_port(port, seconds=60, proc=None):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if proc is not None and proc.poll() is not None:
            raise SystemExit(f"the server for port {port} ended with code {proc.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s")


def stop(proc, sig=signal.SIGTERM, seconds=20):
    """Ends one child by its pid and waits for it."""
    if proc.poll() is None:
        proc.send_signal(sig)
        try:
            proc.wait(seconds)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()


def write(path, data, replacements=(), limit=1_500_000):
    """Writes a recording after replacing machine-specific values.

    replacements is a list of (bytes pattern, bytes). Refuses to write anything
    that still shows a full key, this machine's name or a home directory.
    """
    for pattern, to in replacements:
        data = re.sub(pattern, to, data)
    forbidden = [k.encode() for k in [*KEYS.values(), WRONG_KEY]]
    forbidden += [socket.gethostname().encode()] if len(socket.gethostname()) > 4 else []  # "vm" is in many a word
    forbidden += [b"/root/", b"/home/", str(cache_dir(".")).encode()]
    for text in forbidden:
        if text in data:
            raise SystemExit(f"{path.name} would leak {text.decode()!r}")
    if len(data) > limit:
        raise SystemExit(f"{path.name} has {len(data)} bytes, more than {limit}")
    path.write_bytes(data)
    print(f"wrote {path}: {len(data)} bytes, {data.count(10)} lines")


# Versions that were last recorded with. A newer one is a new recording.
PYTHON_PACKAGES = [
    "litellm[proxy]==1.106.2",
    "openai==2.54.0",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "opentelemetry-instrumentation-openai-v2==2.4b0",
    "opentelemetry-util-genai==1.1b0",  # 1.2b0 and later lack a module that openai-v2 2.4b0 imports
    "opentelemetry-instrumentation-openai==0.62.4",
]
