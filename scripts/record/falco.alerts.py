#!/usr/bin/env python3
"""Makes SYNTHETIC alerts of Falco (json_output).

Needs    python3.
Installs nothing.
Writes   schemas/sources/falco.alerts/testdata/synthetic_falco.ndjson

Falco needs a kernel probe: nothing is recorded. The shape follows its output formatter.
"""

import synthetic as s


def alert(i, priority, rule, text, fields, source="syscall", tags=("container", "mitre_execution"), **more):
    return {"hostname": "node-3", "output": f"{s.at(i, '%H:%M:%S.%f')}000: {priority} {text}", "priority": priority, "rule": rule, "source": source, "tags": list(tags),
            "time": s.at(i, "%Y-%m-%dT%H:%M:%S.%f")[:-1] + "5995Z", "output_fields": {"evt.time": s.ms(i) * 1000000 + 445995} | fields} | more


POD = {"container.id": "ee97d9c4186f", "container.name": "vllm", "container.image.repository": "vllm/vllm-openai", "container.image.tag": "v0.9", "k8s.ns.name": "ml", "k8s.pod.name": "vllm-0"}


def proc(name, cmd, parent="python3", user="root", **more):
    return {"proc.name": name, "proc.exepath": "/usr/bin/" + name, "proc.cmdline": cmd, "proc.pid": 4720, "proc.pname": parent, "proc.ppid": 3596, "proc.pexepath": "/usr/bin/" + parent, "proc.pcmdline": "python3 -m vllm", "proc.cwd": "/srv/",
            "proc.tty": 0, "user.name": user, "user.uid": 0, "user.loginuid": -1} | {k.replace("_", "."): v for k, v in more.items()}


RECORDS = [
    alert(1, "Warning", "Shell in AI container", "Shell spawned by a model server (user=root proc=bash parent=python3)", POD | proc("bash", "bash -c id") | {"evt.type": "execve", "fd.name": None}),
    alert(2, "Notice", "Terminal shell in container", "A shell was used as the entrypoint/exec point into a container", POD | proc("sh", "sh", "containerd-shim") | {"evt.type": "execve", "proc.tty": 34816}, tags=("T1059", "container", "maturity_stable", "mitre_execution", "shell")),
    alert(3, "Error", "Read sensitive file untrusted", "Sensitive file opened for reading by non-trusted program (file=/etc/shadow)", POD | proc("cat", "cat /etc/shadow", "bash") | {"evt.type": "openat", "fd.name": "/etc/shadow"}, tags=("T1555", "filesystem", "mitre_credential_access")),
    alert(4, "Notice", "Contact K8S API Server From Container", "Unexpected connection to K8s API Server from container", POD | proc("curl", "curl -k https://192.0.2.1", "bash") | {"evt.type": "connect", "fd.name": "192.0.2.12:50112->192.0.2.1:443", "fd.sip": "192.0.2.1", "fd.sport": 443, "fd.cip": "192.0.2.12", "fd.cport": 50112,
          "fd.l4proto": "tcp"}, tags=("T1565", "network", "mitre_discovery")),
    alert(5, "Critical", "Drop and execute new binary in container", "Executing binary not part of base image", POD | proc("xmrig", "/tmp/xmrig -o xmr.pool.example", "sh") | {"evt.type": "execve", "proc.exe": "/tmp/xmrig"}, tags=("TA0003", "mitre_persistence", "process")),
    alert(6, "Informational", "Clear Log Activities", "Log files were tampered", proc("truncate", "truncate -s0 /var/log/auth.log", "bash") | {"evt.type": "openat", "fd.name": "/var/log/auth.log", "container.id": "host", "container.name": "host"}, tags=("T1070",)),
    alert(7, "Warning", "Attach/Exec Pod", "Attach/Exec to pod", {"ka.user.name": "alice@example.com", "ka.target.name": "vllm-0", "ka.target.namespace": "ml", "ka.verb": "create", "ka.target.subresource": "exec", "ka.uri.param[command]": "bash", "ka.response.code": "101"}, source="k8s_audit", tags=("k8s",)),
    alert(8, "Error", "Console Login Without MFA", "Detected a console login without MFA", {"ct.user": "ana", "ct.srcip": "203.0.113.66", "ct.region": "us-west-2", "ct.name": "ConsoleLogin", "ct.src": "signin.amazonaws.com", "ct.user.accountid": "111122223333"}, source="aws_cloudtrail", tags=("cloud", "aws")),
    alert(9, "Debug", "Falco internal: syscall event drop", "Falco internal: syscall event drop. 12 system calls dropped in last second.", {"n_drops": "12", "n_evts": "4012"}, source="internal", tags=()),
    alert(10, "Emergency", "Reverse shell", "Reverse shell connection", POD | proc("bash", "bash -i") | {"evt.type": "dup2", "fd.name": "192.0.2.12:50113->203.0.113.66:4444", "fd.rip": "203.0.113.66", "fd.rport": 4444}, tags=("T1059",), uuid="0f2c-1"),
]

if __name__ == "__main__":
    s.write("falco.alerts", "synthetic_falco.ndjson", RECORDS)
