#!/usr/bin/env python3
"""Makes SYNTHETIC audit log entries of Google Cloud, Vertex AI among them.

Needs    python3.
Installs nothing.
Writes   schemas/sources/gcp.audit/testdata/synthetic_entries.ndjson

The service is paid: nothing is recorded.
"""

import synthetic as s


def entry(i, log, service, method, resource, principal="rag@acme.iam.gserviceaccount.com", permission="", granted=True, kind="DATA_READ", ip="203.0.113.7", severity="INFO", status=None, agent="Python/3.12 google-genai/1.30,gzip(gfe)", **more):
    info = {"resource": resource, "permission": permission, "permissionType": kind} | ({"granted": True} if granted else {})
    top = {k: more.pop(k) for k in ("operation", "labels") if k in more}
    return {"insertId": f"ldy87re4b{i}", "logName": f"projects/acme/logs/cloudaudit.googleapis.com%2F{log}", "timestamp": s.at(i, "%Y-%m-%dT%H:%M:%S.%f") + "030Z", "receiveTimestamp": s.at(i + 1), "severity": severity,
            "resource": {"type": "audited_resource", "labels": {"project_id": "acme", "service": service, "method": method, "location": "us-central1"}},
            "protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog", "serviceName": service, "methodName": method, "resourceName": resource, "status": status or {}, "authenticationInfo": {"principalEmail": principal, "principalSubject": ("serviceAccount:" if "gserviceaccount" in principal else "user:") + principal},
            "authorizationInfo": [info], "requestMetadata": {"callerIp": ip, "callerSuppliedUserAgent": agent, "requestAttributes": {"time": s.at(i), "auth": {}}, "destinationAttributes": {}}} | more} | top


V = "google.cloud.aiplatform.v1."
GEMINI = "projects/acme/locations/us-central1/publishers/google/models/gemini-2.5-pro"
RECORDS = [
    entry(1, "data_access", "aiplatform.googleapis.com", V + "PredictionService.GenerateContent", GEMINI, permission="aiplatform.endpoints.predict"),
    entry(2, "data_access", "aiplatform.googleapis.com", V + "PredictionService.StreamGenerateContent", GEMINI, permission="aiplatform.endpoints.predict", granted=False, ip="203.0.113.66", severity="ERROR", status={"code": 7, "message": "Permission 'aiplatform.endpoints.predict' denied"}),
    entry(3, "activity", "aiplatform.googleapis.com", V + "EndpointService.DeployModel", "projects/acme/locations/us-central1/endpoints/77", "ana@example.com", "aiplatform.endpoints.deploy", kind="ADMIN_WRITE", severity="NOTICE", request={"endpoint": "projects/acme/locations/us-central1/endpoints/77", "deployedModel": {"model": "m1"}},
          operation={"id": "op-1", "producer": "aiplatform.googleapis.com", "first": True}),
    entry(4, "activity", "aiplatform.googleapis.com", V + "ModelService.ExportModel", "projects/acme/locations/us-central1/models/9", "ana@example.com", "aiplatform.models.export", kind="ADMIN_WRITE", ip="203.0.113.66", severity="NOTICE", request={"outputConfig": {"artifactDestination": {"outputUriPrefix": "gs://elsewhere/out"}}}),
    entry(5, "activity", "aiplatform.googleapis.com", "google.cloud.aiplatform.v1.JobService.CreateCustomJob", "projects/acme/locations/us-central1", "ci@acme.iam.gserviceaccount.com", "aiplatform.customJobs.create", kind="ADMIN_WRITE", severity="NOTICE",
          request={"customJob": {"jobSpec": {"workerPoolSpecs": [{"containerSpec": {"imageUri": "example.com/x:latest"}}]}}}),
    entry(6, "activity", "iam.googleapis.com", "google.iam.admin.v1.CreateServiceAccountKey", "projects/-/serviceAccounts/rag@acme.iam.gserviceaccount.com", "ana@example.com", "iam.serviceAccountKeys.create", kind="ADMIN_WRITE", ip="203.0.113.66", severity="NOTICE", response={"name": "projects/acme/serviceAccounts/x/keys/0946"}),
    entry(7, "activity", "cloudresourcemanager.googleapis.com", "SetIamPolicy", "projects/acme", "ana@example.com", "resourcemanager.projects.setIamPolicy", kind="ADMIN_WRITE", severity="NOTICE", serviceData={"policyDelta": {"bindingDeltas": [{"action": "ADD", "role": "roles/owner", "member": "user:x@example.net"}]}}),
    entry(8, "data_access", "storage.googleapis.com", "storage.objects.get", "projects/_/buckets/acme-models/objects/llama/model.safetensors", permission="storage.objects.get", ip="198.51.100.9"),
    entry(9, "activity", "logging.googleapis.com", "google.logging.v2.ConfigServiceV2.DeleteSink", "projects/acme/sinks/siem", "ana@example.com", "logging.sinks.delete", kind="ADMIN_WRITE", ip="203.0.113.66", severity="NOTICE"),
    entry(10, "system_event", "compute.googleapis.com", "compute.instances.preempted", "projects/acme/zones/us-central1-a/instances/gpu-1", "system@google.com", ip="private"),
    entry(11, "activity", "k8s.io", "io.k8s.core.v1.pods.exec.create", "core/v1/namespaces/ml/pods/vllm-0/exec", "ana@example.com", "io.k8s.core.v1.pods.exec.create", kind="ADMIN_WRITE", ip="gce-internal-ip", agent="kubectl/v1.34.1"),
    entry(12, "data_access", "aiplatform.googleapis.com", V + "PredictionService.Predict", "projects/acme/locations/us-central1/endpoints/77", permission="aiplatform.endpoints.predict", authenticationInfo={"principalEmail": "rag@acme.iam.gserviceaccount.com", "serviceAccountKeyName": "//iam.googleapis.com/projects/acme/serviceAccounts/rag@acme.iam.gserviceaccount.com/keys/0946"}),
]

if __name__ == "__main__":
    s.write("gcp.audit", "synthetic_entries.ndjson", RECORDS)
