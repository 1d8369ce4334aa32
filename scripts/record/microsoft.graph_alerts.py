#!/usr/bin/env python3
"""Makes SYNTHETIC alerts of Microsoft Graph (security/alerts_v2).

Needs    python3.
Installs nothing.
Writes   schemas/sources/microsoft.graph_alerts/testdata/synthetic_alerts.json   a page of the API

The service is paid: nothing is recorded. The shape follows the resource's reference.
"""

import json

import common
import synthetic as s

E = "#microsoft.graph.security."


def alert(i, title, severity, source, category, techniques, evidence, status="new", **more):
    return {"@odata.type": E + "alert", "id": f"da63-{i}", "providerAlertId": f"p-{i}", "incidentId": "28282", "status": status, "severity": severity, "classification": None, "determination": None,
            "serviceSource": source, "detectionSource": source, "productName": source, "detectorId": "d-7", "tenantId": "11111111-2222-3333-4444-555555555555", "title": title,
            "description": title + " was seen.", "recommendedActions": "Isolate the device.", "category": category, "assignedTo": None, "alertWebUrl": f"https://security.example.com/alerts/da63-{i}",
            "incidentWebUrl": "https://security.example.com/incidents/28282", "actorDisplayName": None, "threatDisplayName": None, "threatFamilyName": None, "mitreTechniques": techniques,
            "createdDateTime": s.at(i + 60), "lastUpdateDateTime": s.at(i + 90), "resolvedDateTime": None, "firstActivityDateTime": s.at(i), "lastActivityDateTime": s.at(i + 5),
            "systemTags": [], "comments": [], "evidence": evidence, **more}


def evidence(kind, **more):
    return {"@odata.type": E + kind, "createdDateTime": s.at(61), "verdict": "suspicious", "remediationStatus": "none", "roles": [], "tags": [], **more}


DEVICE = evidence("deviceEvidence", mdeDeviceId="de65", azureAdDeviceId=None, deviceDnsName="ds-laptop.corp.example", osPlatform="Windows11", riskScore="high", healthStatus="active",
                  lastIpAddress="192.0.2.30", loggedOnUsers=[{"accountName": "ana", "domainName": "CORP"}])
USER = evidence("userEvidence", userAccount={"accountName": "ana", "domainName": "CORP", "userSid": "S-1-5-21-1-2-3-1001", "azureAdUserId": "6f0b", "userPrincipalName": "ana@corp.example"})
PROCESS = evidence("processEvidence", processId=4248, parentProcessId=5692, processCommandLine="powershell -enc SQBFAFgA", processCreationDateTime=s.at(1), detectionStatus="detected", mdeDeviceId="de65",
                   imageFile={"sha1": s.digest("p", 40), "sha256": s.digest("p"), "fileName": "powershell.exe", "filePath": "C:\\Windows\\System32", "fileSize": 452608},
                   parentProcessImageFile={"fileName": "node.exe", "filePath": "C:\\Program Files\\nodejs"},
                   userAccount={"accountName": "ana", "domainName": "CORP", "userPrincipalName": "ana@corp.example"})
FILE = evidence("fileEvidence", fileDetails={"sha256": s.digest("x"), "sha1": s.digest("x", 40), "fileName": "x.exe", "filePath": "C:\\Users\\ana", "fileSize": 1024}, detectionStatus="prevented", mdeDeviceId="de65")
ADDRESS = evidence("ipEvidence", ipAddress="203.0.113.66", countryLetterCode="XX")
POD = evidence("kubernetesPodEvidence", name="vllm-0", namespace={"name": "ml", "cluster": {"cloudResource": {"resourceName": "aks-1"}}}, containers=[{"name": "vllm", "image": {"imageId": "example/vllm:1"}}])

ALERTS = [
    alert(1, "Suspicious execution from an AI agent process", "high", "microsoftDefenderForEndpoint", "Execution", ["T1059.001"], [DEVICE, PROCESS, USER]),
    alert(2, "Malware was prevented", "informational", "microsoftDefenderForEndpoint", "Malware", [], [DEVICE, FILE], status="resolved", threatDisplayName="Trojan:Win32/Synthetic"),
    alert(3, "Unfamiliar sign-in properties", "medium", "azureAdIdentityProtection", "InitialAccess", ["T1078", "T1078.004"], [USER, ADDRESS]),
    alert(4, "Shell in a model server's container", "high", "microsoftDefenderForCloud", "Execution", ["T1609"], [POD, ADDRESS], status="inProgress"),
    alert(5, "Jailbreak attempt blocked by prompt shields", "medium", "microsoftDefenderForCloud", "DefenseEvasion", ["T1059"], [ADDRESS, evidence("azureResourceEvidence", resourceId="/subscriptions/0000/resourceGroups/ai/providers/Microsoft.CognitiveServices/accounts/acme", resourceName="acme", resourceType="AI")]),
    alert(6, "Mass download", "low", "microsoftDefenderForCloudApps", "Exfiltration", ["T1530"], [USER], status="unknownFutureValue"),
]

if __name__ == "__main__":
    common.write(common.testdata("microsoft.graph_alerts") / "synthetic_alerts.json",
                 json.dumps({"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#security/alerts_v2", "value": ALERTS}, indent=1).encode() + b"\n")
