#!/usr/bin/env python3
"""Makes SYNTHETIC records of AWS CloudTrail.

Needs    python3.
Installs nothing.
Writes   schemas/sources/aws.cloudtrail/testdata/synthetic_object.json       an object of the bucket ({"Records": […]})
         schemas/sources/aws.cloudtrail/testdata/synthetic_records.ndjson      single records

The service is paid: nothing is recorded. Accounts, keys and addresses are made up.
"""

import json

import common
import synthetic as s

ACCOUNT = "111122223333"


def role(name, session, mfa="false"):
    return {"type": "AssumedRole", "principalId": f"AROAEXAMPLE:{session}", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}", "accountId": ACCOUNT, "accessKeyId": "ASIAEXAMPLEEXAMPLE00",
            "sessionContext": {"sessionIssuer": {"type": "Role", "principalId": "AROAEXAMPLE", "arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "accountId": ACCOUNT, "userName": name}, "attributes": {"creationDate": s.at(0, "%Y-%m-%dT%H:%M:%SZ"), "mfaAuthenticated": mfa}}}


def user(name):
    return {"type": "IAMUser", "principalId": "AIDAEXAMPLE", "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}", "accountId": ACCOUNT, "accessKeyId": "AKIAEXAMPLEEXAMPLE00", "userName": name}


def record(i, service, name, identity, request=None, ip="203.0.113.7", agent="Boto3/1.40.1 md/Botocore#1.40.1", response=None, read_only=False, **more):
    return {"eventVersion": "1.11", "userIdentity": identity, "eventTime": s.at(i, "%Y-%m-%dT%H:%M:%SZ"), "eventSource": service + ".amazonaws.com", "eventName": name, "awsRegion": "us-west-2", "sourceIPAddress": ip, "userAgent": agent,
            "requestParameters": request, "responseElements": response, "requestID": f"0873fdcf-2c18-413a-9288-7e9b{i:08d}", "eventID": f"a8d388e2-3111-44bf-b78f-b0e2{i:08d}", "readOnly": read_only, "eventType": "AwsApiCall", "managementEvent": True,
            "recipientAccountId": ACCOUNT, "eventCategory": "Management", "tlsDetails": {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256", "clientProvidedHostHeader": f"{service}.us-west-2.amazonaws.com"}} | more


MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
RECORDS = [
    record(1, "bedrock", "InvokeModel", role("rag-role", "rag"), {"modelId": MODEL}, read_only=True, additionalEventData={"inferenceRegion": "us-east-1"}),
    record(2, "bedrock", "ConverseStream", user("leaked"), {"modelId": MODEL}, ip="203.0.113.66", agent="python-requests/2.32", read_only=True, errorCode="ValidationException", errorMessage="max_tokens must be at least 1"),
    record(3, "bedrock", "ListFoundationModels", user("leaked"), {}, ip="203.0.113.66", agent="aws-cli/2.30", read_only=True, errorCode="AccessDenied", errorMessage=f"User: arn:aws:iam::{ACCOUNT}:user/leaked is not authorized to perform: bedrock:ListFoundationModels"),
    record(4, "bedrock", "DeleteModelInvocationLoggingConfiguration", user("leaked"), None, ip="203.0.113.66"),
    record(5, "bedrock", "UpdateGuardrail", role("admin", "ana"), {"guardrailIdentifier": "h28w", "name": "prod", "blockedInputMessaging": "HIDDEN_DUE_TO_SECURITY_REASONS"}, response={"guardrailId": "h28w", "version": "DRAFT"}),
    record(6, "bedrock", "PutUseCaseForModelAccess", user("leaked"), {"formData": "e30="}, ip="203.0.113.66"),
    record(7, "bedrock", "InvokeAgent", role("rag-role", "rag"), {"agentId": "AG1", "agentAliasId": "AL1", "sessionId": "s-1"}, read_only=True, managementEvent=False, eventCategory="Data", resources=[{"accountId": ACCOUNT, "type": "AWS::Bedrock::AgentAlias", "ARN": f"arn:aws:bedrock:us-west-2:{ACCOUNT}:agent-alias/AG1/AL1"}]),
    record(8, "sagemaker", "CreatePresignedNotebookInstanceUrl", user("leaked"), {"notebookInstanceName": "research"}, ip="203.0.113.66", response={"authorizedUrl": "***"}),
    record(9, "sagemaker", "CreateNotebookInstanceLifecycleConfig", user("leaked"), {"notebookInstanceLifecycleConfigName": "x", "onStart": [{"content": "Y3VybCBodHRwOi8vMTk4LjUxLjEwMC45L3h8c2g="}]}, ip="203.0.113.66"),
    record(10, "sagemaker", "CreateTrainingJob", role("ml", "ana"), {"trainingJobName": "ft-7", "roleArn": f"arn:aws:iam::{ACCOUNT}:role/ml", "outputDataConfig": {"s3OutputPath": "s3://acme-models/out"}}),
    record(11, "s3", "GetObject", role("rag-role", "rag"), {"bucketName": "acme-models", "key": "llama/model.safetensors", "Host": "acme-models.s3.us-west-2.amazonaws.com"}, ip="198.51.100.9", read_only=True, managementEvent=False, eventCategory="Data",
           additionalEventData={"SignatureVersion": "SigV4", "CipherSuite": "ECDHE-RSA-AES128-GCM-SHA256", "bytesTransferredIn": 0.0, "bytesTransferredOut": 7516192768.0, "AuthenticationMethod": "AuthHeader"},
           resources=[{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::acme-models/llama/model.safetensors"}, {"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::acme-models"}]),
    record(12, "s3", "PutBucketPolicy", user("leaked"), {"bucketName": "acme-models", "bucketPolicy": {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}]}}, ip="203.0.113.66"),
    record(13, "iam", "CreateAccessKey", user("leaked"), {"userName": "backup"}, ip="203.0.113.66", response={"accessKey": {"userName": "backup", "accessKeyId": "AKIAEXAMPLEEXAMPLE01", "status": "Active"}}),
    record(14, "iam", "AttachUserPolicy", user("leaked"), {"userName": "backup", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}, ip="203.0.113.66"),
    record(15, "signin", "ConsoleLogin", {"type": "Root", "principalId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT, "accessKeyId": ""}, None, ip="203.0.113.66", agent="Mozilla/5.0", response={"ConsoleLogin": "Success"}, eventType="AwsConsoleSignIn",
           additionalEventData={"LoginTo": "https://console.aws.amazon.com/", "MobileVersion": "No", "MFAUsed": "No"}),
    record(16, "signin", "ConsoleLogin", user("ana"), None, ip="203.0.113.66", agent="Mozilla/5.0", response={"ConsoleLogin": "Failure"}, errorMessage="Failed authentication", eventType="AwsConsoleSignIn", additionalEventData={"MFAUsed": "No"}),
    record(17, "sts", "AssumeRole", {"type": "AWSService", "invokedBy": "sagemaker.amazonaws.com"}, {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/ml", "roleSessionName": "SageMaker"}, ip="sagemaker.amazonaws.com", agent="sagemaker.amazonaws.com", read_only=True),
    record(18, "cloudtrail", "StopLogging", user("leaked"), {"name": "org-trail"}, ip="203.0.113.66"),
    record(19, "ec2", "RunInstances", user("leaked"), {"instancesSet": {"items": [{"imageId": "ami-1", "minCount": 8, "maxCount": 8}]}, "instanceType": "p5.48xlarge"}, ip="203.0.113.66", errorCode="Client.UnauthorizedOperation", errorMessage="You are not authorized."),
    record(20, "secretsmanager", "GetSecretValue", role("rag-role", "rag"), {"secretId": "openai-key"}, read_only=True, ip="198.51.100.9"),
    record(21, "kms", "Decrypt", role("rag-role", "rag"), None, read_only=True, resources=[{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1"}]),
]

if __name__ == "__main__":
    out = common.testdata("aws.cloudtrail")
    common.write(out / "synthetic_object.json", json.dumps({"Records": RECORDS}, separators=(",", ":")).encode() + b"\n")
    s.write("aws.cloudtrail", "synthetic_records.ndjson", RECORDS[12:16] + RECORDS[:2])
