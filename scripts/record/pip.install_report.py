#!/usr/bin/env python3
"""Records pip's installation reports.

Needs    Python 3.11 with pip and setuptools, git.
Installs nothing: pip plans against an index of made-up packages on loopback.
Writes   schemas/sources/pip.install_report/testdata/reports.ndjson  one report a line

What is planned: pinned packages of the index, a look-alike, an archive given by
URL, a source distribution, a yanked version, a commit of a git repository.
Reports are as pip wrote them, with the five keys that README.md's wrapper adds
(host, user, time, project, argv) in front. Replaced: the index's address.
"""

import datetime
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import zipfile

import common

WHEELS = {"trainkit": ("2.4.0", ["tokenizer-lite>=1"]), "tokenizer-lite": ("1.2.1", []), "trainkit-gpu": ("9.9.9", []), "oldlib": ("0.1.0", [])}


def wheel(name, version, requires):
    file, buf = name.replace("-", "_"), io.BytesIO()
    info = f"{file}-{version}.dist-info"
    meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\nSummary: made up\n" + "".join(f"Requires-Dist: {r}\n" for r in requires)
    with zipfile.ZipFile(buf, "w") as z:
        z.writestr(f"{file}.py", "")
        z.writestr(f"{info}/METADATA", meta)
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: made up\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", "")
    return f"{file}-{version}-py3-none-any.whl", buf.getvalue()


SETUP = 'from setuptools import setup\nsetup(name="%s", version="%s", py_modules=[])\n'


def sdist(name, version):
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode="w:gz") as t:
        for path, text in ((f"{name}-{version}/setup.py", SETUP % (name, version)), (f"{name}-{version}/PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")):
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            t.addfile(entry, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", buf.getvalue()


def index(port):
    files, pages = {}, {}

    def add(project, file, data, yanked=False):
        files["/files/" + file] = data
        mark = ' data-yanked="a leaked key"' if yanked else ""
        pages.setdefault(f"/simple/{project}/", []).append(f'<a href="/files/{file}#sha256={hashlib.sha256(data).hexdigest()}"{mark}>{file}</a>')

    for name, (version, requires) in WHEELS.items():
        add(name, *wheel(name, version, requires), yanked=name == "oldlib")
    add("promptlib", *sdist("promptlib", "0.3.0"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            path = self.path.split("#")[0]
            body = files.get(path) or ("<!doctype html><html><body>" + "\n".join(pages[path]) + "</body></html>").encode() if path in pages or path in files else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html" if path in pages else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main():
    python, work = common.venv("pip", ["pip==25.3", "setuptools==80.9.0", "wheel"]), common.cache_dir("pip") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    (work / "prompts").mkdir(parents=True)
    (work / "prompts" / "setup.py").write_text(SETUP % ("prompt-hub", "1.0"))
    for args in (["init", "-q"], ["add", "-A"], ["-c", "user.name=ana", "-c", "user.email=ana@example.com", "commit", "-q", "-m", "prompts"]):
        subprocess.run(["git", *args], cwd=work / "prompts", check=True)
    port = common.free_port()
    server = index(port)
    base, lines = f"http://127.0.0.1:{port}", []
    runs = [("build-1.example.com", "ci", ["trainkit==2.4.0"]), ("build-1.example.com", "ci", ["trainkit-gpu"]), ("notebook-3.example.com", "ana", ["promptlib"]),
            ("notebook-3.example.com", "bob", [f"{base}/files/tokenizer_lite-1.2.1-py3-none-any.whl"]), ("notebook-3.example.com", "bob", ["oldlib==0.1.0"]),
            ("build-1.example.com", "ci", [f"prompt-hub @ git+file://{work}/prompts"])]
    for host, user, want in runs:
        argv = ["pip", "install", "--report", "-", *want]
        done = subprocess.run([python, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-build-isolation", "--disable-pip-version-check",
                               "--isolated", "--no-cache-dir", "--index-url", base + "/simple/", "--report", "-", *want], check=True, capture_output=True, text=True)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
        lines.append(json.dumps({"host": host, "user": user, "time": now, "project": "fraud", "argv": " ".join(argv), **json.loads(done.stdout)}))
    server.shutdown()
    changes = [(base.encode(), b"https://packages.example.com"), (b"git\\+file://" + str(work).encode(), b"git+https://git.example.com/ml"),
               (b"file://" + str(work).encode(), b"https://git.example.com/ml"), (rb'"platform_release": "[^"]*"', b'"platform_release": "6.12.0"'),
               (rb'"platform_version": "[^"]*"', b'"platform_version": "#1 SMP"')]
    common.write(common.testdata("pip.install_report") / "reports.ndjson", ("\n".join(lines) + "\n").encode(), changes)


if __name__ == "__main__":
    main()
