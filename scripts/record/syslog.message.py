#!/usr/bin/env python3
"""Records syslog messages of real programs: sshd, sudo, su, cron, useradd and others, through rsyslog.

Needs    Debian's apt, root (for chroot and namespaces), python3; about 150 MB.
Installs rsyslog, OpenSSH, sudo, cron and the account tools of Debian 12 into a
         folder of the cache. Nothing is installed on this system.
Writes   schemas/sources/syslog.message/testdata/file.log       rsyslog's default file format
         schemas/sources/syslog.message/testdata/rfc3164.log    as forwarded by default, with priority
         schemas/sources/syslog.message/testdata/rfc5424.log    RFC 5424, with priority
         schemas/sources/syslog.message/testdata/synthetic_others.log  systemd, kernel, journald and JSON payloads

All runs in a network, mount, process and host name namespace of its own, where
documentation addresses are local. The files have the same messages, but sshd's are
left out of rfc3164.log, so that its golden shows the others. Nothing else than
/home is replaced afterwards; synthetic_others.log is made up, because systemd and a
kernel's log cannot be had here.
"""

import shutil
import subprocess

import common
import debian_root
import synthetic as s

PACKAGES = ["rsyslog", "base-passwd", "dash", "coreutils", "libc-bin", "grep", "sed", "findutils", "mount", "openssh-server", "openssh-client", "sudo", "cron", "passwd", "login", "util-linux", "iproute2", "libpam-modules", "libpam-runtime", "bsdutils", "bash", "hostname", "procps"]
RSYSLOG = """
module(load="imuxsock")
template(name="file" type="string" string="%TIMESTAMP:::date-rfc3339% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n")
action(type="omfile" file="/record/file.log" template="file")
action(type="omfile" file="/record/rfc3164.log" template="old")
action(type="omfile" file="/record/rfc5424.log" template="new")
"""
TEMPLATES = """
template(name="old" type="string" string="<%PRI%>%TIMESTAMP% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n")
template(name="new" type="string" string="<%PRI%>1 %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% %PROCID% %MSGID% %STRUCTURED-DATA% %msg:2:$:drop-last-lf%\\n")
"""
PAM = {"common-auth": "auth required pam_unix.so nullok\n", "common-account": "account required pam_unix.so\n",
       "common-password": "password required pam_unix.so yescrypt\n", "common-session": "session required pam_unix.so\n",
       "common-session-noninteractive": "session required pam_unix.so\n"}
RUN = r"""
set -u
export PATH=/usr/sbin:/usr/bin LC_ALL=C
mount -t proc proc /proc
hostname gpu-node-3
ip link set lo up
for a in 192.0.2.12 192.0.2.20 203.0.113.66; do ip addr add $a/32 dev lo; done
rsyslogd -n -iNONE -f /etc/record.conf &
LOGGER=$!
for i in 1 2 3 4 5 6 7 8 9 10; do [ -S /dev/log ] && break; sleep 0.2; done
groupadd ml
useradd -m -s /bin/bash -G ml mlops
useradd -m -s /bin/bash backdoor
usermod -aG sudo backdoor
echo 'mlops:synthetic-pass-1' | chpasswd
printf '%%sudo ALL=(ALL:ALL) NOPASSWD: ALL\nmlops ALL=(root) NOPASSWD: /usr/bin/id, /usr/bin/cat\n' > /etc/sudoers.d/record
ssh-keygen -q -A
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f /tmp/key -C record
install -d -m 700 -o mlops -g mlops /home/mlops/.ssh
install -m 600 -o mlops -g mlops /tmp/key.pub /home/mlops/.ssh/authorized_keys
/usr/sbin/sshd -D -o ListenAddress=192.0.2.12 -o UsePAM=yes -o PermitRootLogin=no -o PasswordAuthentication=yes -o KbdInteractiveAuthentication=no &
SSHD=$!
sleep 1
OPT="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o NumberOfPasswordPrompts=2"
printf '#!/bin/sh\necho $SECRET\n' > /tmp/ask; chmod 755 /tmp/ask
export SSH_ASKPASS=/tmp/ask SSH_ASKPASS_REQUIRE=force
try() { SECRET="$1" ssh $OPT -o PubkeyAuthentication=no -b "$2" "$3@192.0.2.12" "${4:-true}" </dev/null >/dev/null 2>&1; }
for user in root admin test oracle ubuntu; do try wrong 203.0.113.66 $user; done
try wrong 203.0.113.66 mlops
try synthetic-pass-1 192.0.2.20 mlops id
ssh $OPT -i /tmp/key -b 192.0.2.20 mlops@192.0.2.12 'sudo id; sudo cat /etc/shadow >/dev/null; sudo -n /bin/bash -c id' </dev/null >/dev/null 2>&1
try synthetic-pass-1 203.0.113.66 mlops 'echo wrong | su root -c id'
exec 3<>/dev/tcp/192.0.2.12/22; printf 'GET / HTTP/1.0\r\n\r\n' >&3; sleep 0.3; exec 3>&-
su -s /bin/sh backdoor -c 'sudo -n tail -n1 /etc/passwd; sudo -u mlops id' </dev/null >/dev/null 2>&1
passwd -l backdoor >/dev/null; usermod -s /usr/sbin/nologin backdoor
userdel -r backdoor 2>/dev/null; groupdel ml 2>/dev/null
logger -p daemon.err -t vllm 'CUDA error: out of memory'
logger -p local7.notice -t gateway --id=4711 'request refused for key k-7'
logger -p auth.warning -t rag[99] 'token rejected from 198.51.100.23'
logger -p user.info 'no tag from logger, "quotes" and \\ stay'
printf '* * * * * root /usr/bin/true\n' > /etc/cron.d/record; chmod 644 /etc/cron.d/record
cron -f -L 1 &
CRON=$!
sleep 61
kill $CRON $SSHD; sleep 0.5; kill $LOGGER; wait $LOGGER
"""
OTHERS = [
    "Nov 20 09:40:00 gpu-node-3 systemd[1]: Started session-3.scope - Session 3 of User mlops.",
    "Nov 20 09:40:01 gpu-node-3 systemd-logind[655]: New session 3 of user mlops.",
    "Nov 20 09:40:02 gpu-node-3 kernel: [ 8123.456789] Out of memory: Killed process 4720 (python3) total-vm:90000000kB, anon-rss:80000000kB",
    "<4>Nov 20 09:40:03 gpu-node-3 kernel: [UFW BLOCK] IN=eth0 OUT= MAC=02:00:00:00:00:01 SRC=203.0.113.66 DST=192.0.2.12 LEN=60 TOS=0x00 PREC=0x00 TTL=51 ID=1 DF PROTO=TCP SPT=41000 DPT=11434 WINDOW=64240 RES=0x00 SYN URGP=0",
    "<30>1 2026-11-20T09:40:04.000123Z gpu-node-3 dockerd 812 - [meta sequenceId=\"7\" ip=\"192.0.2.12\"] container 6b74 started",
    "<13>1 2026-11-20T09:40:05Z app-1 billing 77 ID47 - {\"not\":\"a known source\"}",
    "<86>Nov 20 09:40:06 gpu-node-3 sshd[900]: Accepted publickey for root from 203.0.113.66 port 50512 ssh2: ED25519 SHA256:0000000000000000000000000000000000000000000",
    "Nov 20 09:40:06 gpu-node-3 sshd[902]: Failed password for invalid user x from 198.51.100.1 port 1 ssh2 from 203.0.113.66 port 50513 ssh2",
    "Nov 20 09:40:06 gpu-node-3 sshd[902]: Invalid user x from 198.51.100.1 port 1 from 203.0.113.66 port 50513",
    "Nov 20 09:40:07 gpu-node-3 su[901]: FAILED SU (to root) mlops on pts/0",
]


def main():
    root = debian_root.root("bookworm", PACKAGES)
    for name in ("passwd", "group"):
        shutil.copy(root / "usr/share/base-passwd" / (name + ".master"), root / "etc" / name)
    with open(root / "etc/passwd", "a", encoding="utf-8") as f:
        f.write("sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n")
    (root / "etc/shadow").write_text("root:*:20000:0:99999:7:::\n")
    (root / "etc/gshadow").write_text("")
    for name, text in PAM.items():
        (root / "etc/pam.d" / name).write_text(text)
    (root / "etc/ssh/sshd_config").write_text("UsePAM yes\nSubsystem sftp internal-sftp\n")
    (root / "etc/sudoers.d").mkdir(exist_ok=True)
    (root / "etc/record.conf").write_text(TEMPLATES + RSYSLOG)
    for sub in ("record", "home", "run", "proc", "tmp", "var/spool/cron/crontabs", "var/mail", "dev"):
        (root / sub).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(root / "record")
    shutil.rmtree(root / "home")
    for sub in ("record", "home"):
        (root / sub).mkdir()
    if not (root / "usr/bin/sh").exists():
        (root / "usr/bin/sh").symlink_to("dash")
    for node, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9), ("tty", 0)):
        if not (root / "dev" / node).exists():
            subprocess.run(["mknod", "-m", "666", root / "dev" / node, "c", "5" if node == "tty" else "1", str(minor)], check=True)
    (root / "run.sh").write_text(RUN)
    subprocess.run(["unshare", "-n", "-u", "-m", "-p", "-f", "--kill-child", "chroot", root, "/bin/bash", "/run.sh"], timeout=180)
    out = common.testdata("syslog.message")
    for name in ("file.log", "rfc3164.log", "rfc5424.log"):
        lines = (root / "record" / name).read_bytes().splitlines(keepends=True)
        if name == "rfc3164.log":
            lines = [x for x in lines if b" sshd[" not in x]
        common.write(out / name, b"".join(lines), [(rb"/home/", b"/srv/")])
    s.write("syslog.message", "synthetic_others.log", OTHERS)


if __name__ == "__main__":
    main()
