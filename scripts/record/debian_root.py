"""Debian packages in a folder of their own, for programs that this system does not offer."""

import os
import shutil
import subprocess

import common

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror():
    """The Debian mirror that this system is set up with."""
    targets = subprocess.run(["apt-get", "indextargets", "Created-By: Packages", "--format", "$(REPO_URI)"], check=True, capture_output=True, text=True)
    for uri in targets.stdout.split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise SystemExit("apt knows no Debian mirror")


def root(suite, packages):
    """Unpacks packages of a Debian suite, with all they need, below the cache.

    Nothing is installed on this system: no maintainer script runs, no service
    starts. Run programs of it with chroot, which needs root. Returns the path.
    """
    work = common.cache_dir(f"debian-{suite}-{packages[0]}")
    path = work / "root"
    want = " ".join(packages)
    if (work / "done").exists() and (work / "done").read_text() == want:
        return path
    for sub in ("state/lists/partial", "cache/archives/partial"):
        (work / sub).mkdir(parents=True, exist_ok=True)
    (work / "status").write_text("")
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    conf = work / "apt.conf"
    conf.write_text(f'Dir::State "{work}/state"; Dir::State::status "{work}/status"; Dir::Cache "{work}/cache";\n'
                    f'Dir::Etc::sourcelist "{work}/sources.list"; Dir::Etc::sourceparts "-";\n'
                    'APT::Install-Recommends "false"; Acquire::Languages "none"; APT::Sandbox::User "root";\n'
                    'Debug::NoLocking "true";\n')
    env = {**os.environ, "APT_CONFIG": str(conf)}
    subprocess.run(["apt-get", "-qq", "update"], env=env, check=True)
    subprocess.run(["apt-get", "-qq", "-y", "--download-only", "install", "base-files", *packages], env=env, check=True)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for link in ("bin", "sbin", "lib", "lib64"):  # as base-files' scripts would
        (path / "usr" / link).mkdir(parents=True, exist_ok=True)
        (path / link).symlink_to("usr/" + link)
    for deb in sorted((work / "cache" / "archives").glob("*.deb")):
        unpacked = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", path], stdin=unpacked.stdout, check=True)
        if unpacked.wait() != 0:
            raise SystemExit(f"{deb} cannot be unpacked")
    (work / "done").write_text(want)
    return path
