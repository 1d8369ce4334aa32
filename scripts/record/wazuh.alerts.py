#!/usr/bin/env python3
"""Makes SYNTHETIC alerts of Wazuh (alerts.json).

Needs    python3.
Installs nothing.
Writes   schemas/sources/wazuh.alerts/testdata/synthetic_alerts.ndjson

No registry that this project uses offers the Wazuh manager: nothing is recorded.
The shape follows its documentation and published samples.
"""

import synthetic as s


def alert(i, level, description, rule, groups, decoder, data=None, mitre=None, location="/var/log/auth.log", full="", agent=True, **more):
    return {"timestamp": s.at(i, "%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000", "rule": {"level": level, "description": description, "id": rule, "firedtimes": 1, "mail": level > 11, "groups": groups, "pci_dss": ["10.2.4"], "gdpr": ["IV_35.7.d"]}
            | ({"mitre": mitre} if mitre else {}), "agent": {"id": "005", "name": "gpu-node-3", "ip": "192.0.2.12"} if agent else {"id": "000", "name": "wazuh-1"}, "manager": {"name": "wazuh-1"}, "cluster": {"name": "wazuh", "node": "node01"},
            "id": f"{int(s.unix(i))}.{49701 + i}", "full_log": full or description, "decoder": {"name": decoder}, "data": data or {}, "location": location} | more


RECORDS = [
    alert(1, 5, "sshd: authentication failed.", "5760", ["syslog", "sshd", "authentication_failed"], "sshd", {"srcip": "203.0.113.66", "srcport": "50512", "dstuser": "root"},
          {"id": ["T1110.001", "T1021.004"], "tactic": ["Credential Access", "Lateral Movement"], "technique": ["Password Guessing", "SSH"]},
          full="Nov 20 09:30:01 gpu-node-3 sshd[811]: Failed password for root from 203.0.113.66 port 50512 ssh2", predecoder={"program_name": "sshd", "timestamp": "Nov 20 09:30:01", "hostname": "gpu-node-3"}),
    alert(2, 10, "sshd: brute force trying to get access to the system.", "5763", ["syslog", "sshd", "authentication_failures"], "sshd", {"srcip": "203.0.113.66", "dstuser": "root"}, {"id": ["T1110"], "tactic": ["Credential Access"], "technique": ["Brute Force"]}),
    alert(3, 3, "sshd: authentication success.", "5715", ["syslog", "sshd", "authentication_success"], "sshd", {"srcip": "192.0.2.20", "dstuser": "mlops"}),
    alert(4, 3, "Successful sudo to ROOT executed.", "5402", ["syslog", "sudo"], "sudo", {"srcuser": "mlops", "dstuser": "root", "tty": "pts/0", "pwd": "/srv", "command": "/usr/bin/cat /etc/shadow"}),
    alert(5, 10, "Unauthorized model file read", "100210", ["audit", "ai"], "auditd", {"audit": {"type": "SYSCALL", "id": "270", "key": "model_weights", "exe": "/usr/bin/cat", "command": "cat", "auid": "1000", "uid": "0", "pid": "2271", "ppid": "2270", "success": "yes",
          "cwd": "/srv", "execve": {"a0": "cat", "a1": "/models/llama/model.safetensors"}, "file": {"name": "/models/llama/model.safetensors"}}}, {"id": ["T1005"], "tactic": ["Collection"], "technique": ["Data from Local System"]}, location="/var/log/audit/audit.log"),
    alert(6, 7, "Integrity checksum changed.", "550", ["ossec", "syscheck"], "syscheck_integrity_changed", location="syscheck", syscheck={"path": "/etc/ssh/sshd_config", "mode": "realtime", "event": "modified", "size_after": "3203", "uid_after": "0", "uname_after": "root",
          "md5_after": s.digest("f", 32), "sha1_after": s.digest("f", 40), "sha256_after": s.digest("f"), "changed_attributes": ["sha256", "mtime"]}),
    alert(7, 5, "File added to the system.", "554", ["ossec", "syscheck"], "syscheck_new_entry", location="syscheck", syscheck={"path": "/tmp/.x/run.sh", "mode": "realtime", "event": "added", "size_after": "311", "sha256_after": s.digest("r")}),
    alert(8, 12, "Powershell process spawned by an AI agent", "92057", ["sysmon", "sysmon_eid1_detections", "windows"], "windows_eventchannel", {"win": {"system": {"providerName": "Microsoft-Windows-Sysmon", "eventID": "1", "computer": "ds-laptop", "channel": "Microsoft-Windows-Sysmon/Operational",
          "systemTime": s.at(8), "processID": "2840", "severityValue": "INFORMATION"}, "eventdata": {"image": "C:\\\\Windows\\\\System32\\\\WindowsPowerShell\\\\v1.0\\\\powershell.exe", "processId": "4248", "processGuid": "{fa4a0de6-e8a9-5d2f}", "commandLine": "powershell -enc SQBFAFgA",
          "parentImage": "C:\\\\Program Files\\\\nodejs\\\\node.exe", "parentProcessId": "5692", "parentCommandLine": "node mcp-server.js", "user": "CORP\\\\ana", "hashes": "SHA256=" + s.digest("p").upper(), "integrityLevel": "Medium"}}},
          {"id": ["T1059.001"], "tactic": ["Execution"], "technique": ["PowerShell"]}, location="EventChannel"),
    alert(9, 13, "CVE-2026-0001 affects a model server", "23506", ["vulnerability-detector"], "json", {"vulnerability": {"cve": "CVE-2026-0001", "severity": "Critical", "package": {"name": "vllm", "version": "0.5.0"}, "status": "Active"}}, location="vulnerability-detector"),
    alert(10, 3, "AWS CloudTrail: InvokeModel", "80202", ["amazon", "aws", "aws_cloudtrail"], "json", {"integration": "aws", "aws": {"source": "cloudtrail", "eventName": "InvokeModel", "source_ip_address": "203.0.113.7", "userIdentity": {"arn": "arn:aws:iam::111122223333:user/rag"}}}, location="Wazuh-AWS", agent=False),
    alert(11, 6, "Web server 400 error code.", "31101", ["web", "accesslog", "attack"], "web-accesslog", {"protocol": "GET", "srcip": "203.0.113.200", "id": "404", "url": "/.env"}, location="/var/log/nginx/access.log"),
    alert(12, 3, "Wazuh agent started.", "503", ["ossec"], "ossec", {"extra_data": "any->any"}, location="wazuh-monitord"),
]

if __name__ == "__main__":
    s.write("wazuh.alerts", "synthetic_alerts.ndjson", RECORDS)
