#!/usr/bin/env python3
"""Makes SYNTHETIC CrowdStrike alerts: the event stream and the alerts API.

Needs    python3.
Installs nothing.
Writes   schemas/sources/crowdstrike.alerts/testdata/synthetic_stream.ndjson
         schemas/sources/crowdstrike.alerts/testdata/synthetic_api.json

Falcon is a paid service: nothing is recorded. Shapes follow published samples.
"""

import json

import common
import synthetic as s


def stream(i, kind, event):
    return {"metadata": {"customerIDString": "cc15754bcfb5f9152ec7ac90acbbbbbb", "offset": 1201170 + i, "eventType": kind,
                         "eventCreationTime": s.ms(i), "version": "1.0"}, "event": event}


def detection(i, name, severity, level, tactic, technique, technique_id, **more):
    return stream(i, "EppDetectionSummaryEvent", {
        "AgentId": "ab12cf409f87ed463b40c368ec45aaaa", "CompositeId": f"cc15:ind:ab12:346-777-{i}", "AggregateId": f"aggind:ab12:{i}",
        "Hostname": "gpu-node-3", "LocalIP": "192.0.2.12", "MACAddress": "02-00-00-00-00-01", "MachineDomain": "", "UserName": "mlops",
        "Name": name, "Description": f"{name} on this host.", "Severity": severity, "SeverityName": level, "Objective": "Follow Through",
        "Tactic": tactic, "TacticId": "TA0002", "Technique": technique, "TechniqueId": technique_id, "FileName": "bash",
        "FilePath": "/usr/bin/bash", "CommandLine": "bash -i", "ParentImageFileName": "python3.11", "ParentImageFilePath": "/usr/bin/python3.11",
        "ParentCommandLine": "python3 -m vllm.entrypoints.openai.api_server", "GrandParentImageFileName": "systemd",
        "ProcessId": 38911778380590, "ParentProcessId": 38911774195823, "ProcessStartTime": int(s.unix(i)), "ProcessEndTime": 0,
        "SHA256String": s.digest("bash"), "MD5String": s.digest("bash", 32), "SHA1String": "0" * 40, "PatternId": 10417,
        "PatternDispositionValue": 0, "PatternDispositionDescription": "Detection, standard detection.",
        "PatternDispositionFlags": {"Detect": True, "KillProcess": False, "ProcessBlocked": False, "QuarantineFile": False},
        "FalconHostLink": f"https://falcon.example.com/activity-v2/detections/{i}", "DataDomains": "Endpoint", "SourceVendors": "CrowdStrike",
        "Type": "ldt", **more})


STREAM = [
    detection(1, "ReverseShell", 70, "High", "Execution", "Command and Scripting Interpreter", "T1059"),
    detection(2, "CredentialDumping", 90, "Critical", "Credential Access", "OS Credential Dumping", "T1003", PatternDispositionValue=2048,
              PatternDispositionDescription="Prevention, process was killed.",
              PatternDispositionFlags={"Detect": True, "KillProcess": True, "ProcessBlocked": True, "QuarantineFile": False}),
    detection(3, "SuspiciousFile", 30, "Low", "Machine Learning", "Sensor-based ML", "CST0007", IOCType="hash_sha256", IOCValue=s.digest("ioc")),
    stream(4, "DetectionSummaryEvent", {"ComputerName": "WIN-7", "UserName": "ana", "DetectName": "Known Malware", "DetectDescription": "A file is known malware.",
           "DetectId": "ldt:ab12:1", "Severity": 4, "SeverityName": "High", "Tactic": "Malware", "Technique": "Known Malware", "FileName": "x.exe",
           "FilePath": "\\Device\\HarddiskVolume3\\Users\\ana", "CommandLine": "x.exe", "ProcessId": 412316862437, "SHA256String": s.digest("x"),
           "LocalIP": "192.0.2.30", "MachineDomain": "EXAMPLE", "SensorId": "ef34", "PatternDispositionDescription": "Prevention, quarantined.",
           "PatternDispositionFlags": {"Detect": True, "QuarantineFile": True}}),
    stream(5, "IdpDetectionSummaryEvent", {"DetectName": "Unusual login to an endpoint", "DetectDescription": "ana logged on to a host for the first time.",
           "SeverityName": "Medium", "Severity": 50, "SourceAccountName": "ana", "SourceAccountDomain": "EXAMPLE", "SourceEndpointIpAddress": "203.0.113.66",
           "SourceEndpointHostName": "KALI", "TargetEndpointHostName": "DC-1", "Tactic": "Initial Access", "Technique": "Valid Accounts", "CompositeId": "cc15:idp:5"}),
    stream(6, "UserActivityAuditEvent", {"UserId": "soc@example.com", "UserIp": "203.0.113.20", "OperationName": "update_policy", "ServiceName": "prevention_policy",
           "Success": True, "UTCTimestamp": int(s.unix(6)), "AuditKeyValues": [{"Key": "policy_name", "ValueString": "linux-gpu"}]}),
    stream(7, "AuthActivityAuditEvent", {"UserId": "soc@example.com", "UserIp": "203.0.113.66", "OperationName": "userAuthenticate", "ServiceName": "CrowdStrike Authentication",
           "Success": False, "UTCTimestamp": int(s.unix(7)), "AuditKeyValues": []}),
    stream(8, "RemoteResponseSessionStartEvent", {"SessionId": "b1f4", "HostnameField": "gpu-node-3", "UserName": "soc@example.com", "StartTimestamp": int(s.unix(8))}),
    stream(9, "FirewallMatchEvent", {"DeviceId": "ab12", "HostName": "gpu-node-3", "ConnectionDirection": "1", "LocalAddress": "192.0.2.12", "LocalPort": "22",
           "RemoteAddress": "203.0.113.66", "RemotePort": "41999", "Protocol": "6", "RuleName": "deny ssh", "RuleAction": "2", "PolicyName": "gpu", "ImageFileName": "sshd"}),
]

API = {"meta": {"query_time": 0.03, "powered_by": "detectsapi", "trace_id": "t-1"}, "errors": [], "resources": [
    {"composite_id": "cc15:ind:ab12:346-777-11", "id": "ind:ab12:346-777-11", "aggregate_id": "aggind:ab12:11", "cid": "cc15", "agent_id": "ab12cf409f87ed463b40c368ec45aaaa",
     "display_name": "ReverseShell", "name": "ReverseShell", "description": "A process opened a remote shell.", "severity": 70, "severity_name": "High", "status": "new",
     "product": "epp", "type": "ldt", "objective": "Follow Through", "scenario": "suspicious_activity", "tactic": "Execution", "tactic_id": "TA0002",
     "technique": "Command and Scripting Interpreter", "technique_id": "T1059", "timestamp": s.at(11), "created_timestamp": s.at(12), "updated_timestamp": s.at(13),
     "filename": "bash", "filepath": "/usr/bin/bash", "cmdline": "bash -i", "sha256": s.digest("bash"), "md5": s.digest("bash", 32), "process_id": "38911778380590",
     "local_process_id": "56002", "user_name": "mlops", "user_id": "1000", "device": {"device_id": "ab12", "hostname": "gpu-node-3", "local_ip": "192.0.2.12",
     "external_ip": "203.0.113.7", "platform_name": "Linux", "os_version": "Debian 12", "agent_version": "7.30", "tags": ["FalconGroupingTags/gpu"]},
     "parent_details": {"filename": "python3.11", "filepath": "/usr/bin/python3.11", "cmdline": "python3 -m vllm", "process_id": "38911774195823", "local_process_id": "55990",
     "user_name": "mlops"}, "pattern_disposition": 2048, "pattern_disposition_description": "Prevention, process was killed.",
     "pattern_disposition_details": {"detect": True, "kill_process": True, "process_blocked": True}, "falcon_host_link": "https://falcon.example.com/x", "show_in_ui": True,
     "confidence": 80, "pattern_id": 10417, "platform": "Linux"},
    {"composite_id": "cc15:idp:12", "display_name": "Unusual login to an endpoint", "description": "ana logged on to a host for the first time.", "severity": 50,
     "severity_name": "Medium", "status": "in_progress", "product": "idp", "type": "idp-user-endpoint-app-info", "tactic": "Initial Access", "technique": "Valid Accounts",
     "technique_id": "T1078", "timestamp": s.at(14), "created_timestamp": s.at(15), "source_account_name": "ana", "source_account_domain": "EXAMPLE",
     "source_endpoint_host_name": "KALI", "source_endpoint_ip_address": "203.0.113.66", "target_endpoint_host_name": "DC-1"}]}

if __name__ == "__main__":
    s.write("crowdstrike.alerts", "synthetic_stream.ndjson", STREAM)
    common.write(common.testdata("crowdstrike.alerts") / "synthetic_api.json", json.dumps(API, indent=1).encode() + b"\n")
