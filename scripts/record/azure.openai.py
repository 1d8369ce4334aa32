#!/usr/bin/env python3
"""Makes SYNTHETIC diagnostic logs of Azure OpenAI and of its neighbours in Azure.

Needs    python3.
Installs nothing.
Writes   schemas/sources/azure.openai/testdata/synthetic_diagnostics.ndjson   lines of storage blobs
         schemas/sources/azure.openai/testdata/synthetic_eventhub.json        a message of an event hub

The service is paid: nothing is recorded.
"""

import json

import common
import synthetic as s

RESOURCE = "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/AI/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/ACME-AOAI"


def log(i, operation, result="200", category="RequestResponse", ip="203.0.113.***", properties=None, as_text=True, **more):
    props = properties or {"apiName": "Azure OpenAI API version 2024-10-21", "requestTime": 639028224015394150 + i * 10**7, "requestLength": 128, "responseTime": 639028224025606520 + i * 10**7, "responseLength": 1411, "objectId": "", "streamType": "Streaming",
                           "modelDeploymentName": "gpt-4o-prod", "modelName": "gpt-4o", "modelVersion": "2024-08-06"}
    return {"time": s.at(i, "%Y-%m-%dT%H:%M:%S.%f") + "0Z", "resourceId": RESOURCE, "category": category, "operationName": operation, "event": "ShoeboxCallResult", "durationMs": 1021, "resultSignature": result, "callerIpAddress": ip,
            "correlationId": f"d427a391-2bc7-4f38-9cbc-6560{i:08d}", "location": "eastus", "Tenant": "eastus", "properties": json.dumps(props, separators=(",", ":")) if as_text else props} | more


RECORDS = [
    log(1, "ChatCompletions_Create"), log(2, "ChatCompletions_Create", "429"), log(3, "ChatCompletions_Create", "400", as_text=False),
    log(4, "Embeddings_Create", properties={"apiName": "Azure OpenAI API version 2024-10-21", "requestLength": 4000, "responseLength": 30000, "objectId": "6f0b8a0e-0000-0000-0000-000000000001", "streamType": "Non-Streaming", "modelDeploymentName": "embed", "modelName": "text-embedding-3-small", "modelVersion": "1"}),
    log(5, "ChatCompletions_Create", "401", ip="198.51.100.***"),
    log(6, "ListKey", category="Audit", properties={"objectId": "6f0b8a0e-0000-0000-0000-000000000001"}),
    {"time": s.at(7), "resourceId": RESOURCE, "operationName": "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/LISTKEYS/ACTION", "category": "Administrative", "resultType": "Success", "resultSignature": "Succeeded.OK", "callerIpAddress": "203.0.113.66", "correlationId": "c-7", "level": "Information", "durationMs": "120",
     "identity": {"claims": {"name": "ana", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "ana@corp.example", "http://schemas.microsoft.com/identity/claims/objectidentifier": "6f0b"}, "authorization": {"action": "Microsoft.CognitiveServices/accounts/listKeys/action", "scope": RESOURCE.lower()}}},
    {"time": s.at(8), "resourceId": RESOURCE + "/RAIPOLICIES/STRICT", "operationName": "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/RAIPOLICIES/WRITE", "category": "Administrative", "resultType": "Success", "resultSignature": "Succeeded.OK", "callerIpAddress": "203.0.113.66", "correlationId": "c-8", "level": "Information",
     "identity": {"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "ana@corp.example"}}, "properties": {"requestbody": "{\"properties\":{\"contentFilters\":[]}}"}},
    {"time": s.at(9), "resourceId": "/SUBSCRIPTIONS/0/RESOURCEGROUPS/AI/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/ACME", "category": "GatewayLogs", "operationName": "Microsoft.ApiManagement/GatewayLogs", "callerIpAddress": "203.0.113.20", "correlationId": "c-9", "location": "eastus", "resultType": "Succeeded", "durationMs": 900,
     "properties": {"method": "POST", "url": "https://acme.azure-api.net/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "responseCode": 200, "backendResponseCode": 200, "requestSize": 900, "responseSize": 2100, "apiId": "openai", "operationId": "chat", "apimSubscriptionId": "team-a", "backendUrl": "https://acme-aoai.openai.azure.com/openai",
                    "clientProtocol": "HTTP/1.1"}},
    {"time": s.at(10), "resourceId": "/SUBSCRIPTIONS/0/RESOURCEGROUPS/AI/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/ACME", "category": "GatewayLlmLogs", "operationName": "Microsoft.ApiManagement/GatewayLlmLogs", "correlationId": "c-9", "location": "eastus",
     "properties": {"promptTokens": 20, "completionTokens": 50, "totalTokens": 70, "modelName": "gpt-4o", "deploymentName": "gpt-4o", "isStreamCompletion": False, "requestMessages": "[{\"role\":\"user\",\"content\":\"What is our refund policy?\"}]", "responseMessages": "[{\"role\":\"assistant\",\"content\":\"Thirty days.\"}]", "sequenceNumber": 0}},
]

if __name__ == "__main__":
    s.write("azure.openai", "synthetic_diagnostics.ndjson", RECORDS)
    common.write(common.testdata("azure.openai") / "synthetic_eventhub.json", json.dumps({"records": RECORDS[:3]}, indent=1).encode() + b"\n")
