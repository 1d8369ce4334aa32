#!/usr/bin/env python3
"""Records MinIO's audit log and its bucket notifications.

Needs    Go 1.26.
Installs minio, built from its published Go module (AGPL-3.0: run only, nothing
         of it is kept), and boto3 into the cache (five minutes the first time).
Writes   schemas/sources/minio.audit/testdata/audit.ndjson   bodies of the audit webhook
         schemas/sources/minio.audit/testdata/notify.ndjson  bodies of the notification webhook

A model store: weights put, read, listed, overwritten, deleted; a bucket policy
made public; anonymous and refused requests; a wrong secret.

Replaced afterwards: addresses, ports, ids of the deployment and the host.
"""

import os
import subprocess
import time

import common

common.inside_venv("minio-client", ["boto3==1.43.54", "minio==7.2.20"])

import boto3  # noqa: E402
import receiver  # noqa: E402
from botocore.client import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
PUBLIC = """{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},
"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::models","arn:aws:s3:::models/*"]}]}"""


def install():
    place = common.cache_dir("minio")
    if not (place / "minio").exists():
        env = {**os.environ, "GOBIN": str(place), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", MODULE], check=True, cwd=place, env=env)
    return place / "minio"


def s3(port, user, secret, agent="aws-cli/2.31.4 md/Botocore"):
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id=user, aws_secret_access_key=secret,
                        region_name="us-east-1", config=Config(signature_version="s3v4", user_agent=agent, retries={"max_attempts": 1}))


def quietly(call, **args):
    try:
        return call(**args)
    except ClientError as err:
        print(err.operation_name, err.response["Error"]["Code"])


def traffic(port):
    from minio import MinioAdmin
    from minio.credentials import StaticProvider
    root = s3(port, "root-user", "made-up-secret-1")
    root.create_bucket(Bucket="models")
    root.create_bucket(Bucket="datasets")
    root.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    root.put_bucket_notification_configuration(Bucket="models", NotificationConfiguration={"QueueConfigurations": [
        {"QueueArn": "arn:minio:sqs::VAGUS:webhook", "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectAccessed:*"]}]})
    admin = MinioAdmin(endpoint=f"127.0.0.1:{port}", credentials=StaticProvider("root-user", "made-up-secret-1"), secure=False)
    admin.user_add("svc-train", "made-up-secret-2")
    admin.policy_set("readwrite", user="svc-train")
    admin.user_add("svc-serve", "made-up-secret-3")
    admin.policy_set("readonly", user="svc-serve")
    train, serve = s3(port, "svc-train", "made-up-secret-2", "Boto3/1.43.54 pytorch-trainer"), s3(port, "svc-serve", "made-up-secret-3", "vllm/0.12 boto3")
    train.put_object(Bucket="models", Key="fraud/v17/model.safetensors", Body=b"w" * 4096, Metadata={"run": "9b1c"})
    train.put_object(Bucket="datasets", Key="sft/v12/part-0001.parquet", Body=b"d" * 2048)
    serve.get_object(Bucket="models", Key="fraud/v17/model.safetensors")["Body"].read()
    serve.head_object(Bucket="models", Key="fraud/v17/model.safetensors")
    quietly(serve.put_object, Bucket="models", Key="fraud/v17/model.safetensors", Body=b"poison")
    quietly(serve.list_buckets)
    train.list_objects_v2(Bucket="models")
    train.put_object(Bucket="models", Key="fraud/v17/payload.pkl", Body=b"p" * 128)
    quietly(serve.get_object, Bucket="models", Key="fraud/v99/model.safetensors")
    quietly(s3(port, "svc-serve", "a-wrong-secret").get_object, Bucket="models", Key="fraud/v17/model.safetensors")
    quietly(s3(port, "nobody", "a-wrong-secret").list_buckets)
    root.put_bucket_policy(Bucket="models", Policy=PUBLIC)
    import client
    client.send(port, "GET", "/models/fraud/v17/model.safetensors", None, None, {"User-Agent": "curl/8.11.1", "X-Forwarded-For": "203.0.113.77"})
    client.send(port, "GET", "/datasets/sft/v12/part-0001.parquet", None, None, {"User-Agent": "curl/8.11.1", "X-Forwarded-For": "203.0.113.77"})
    train.delete_objects(Bucket="models", Delete={"Objects": [{"Key": "fraud/v17/model.safetensors"}, {"Key": "fraud/v17/payload.pkl"}]})
    train.delete_object(Bucket="datasets", Key="sft/v12/part-0001.parquet")
    root.delete_bucket(Bucket="datasets")
    admin.user_remove("svc-serve")


def main():
    minio, work = install(), common.cache_dir("minio") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    (work / "data").mkdir(parents=True)
    audit_port, notify_port, port = common.free_port(), common.free_port(), common.free_port()
    audit, notify = receiver.Receiver(audit_port), receiver.Receiver(notify_port)
    env = {"PATH": os.environ["PATH"], "HOME": str(work), "MINIO_ROOT_USER": "root-user", "MINIO_ROOT_PASSWORD": "made-up-secret-1",
           "MINIO_AUDIT_WEBHOOK_ENABLE_VAGUS": "on", "MINIO_AUDIT_WEBHOOK_ENDPOINT_VAGUS": f"http://127.0.0.1:{audit_port}/v1/ingest/minio.audit",
           "MINIO_AUDIT_WEBHOOK_AUTH_TOKEN_VAGUS": "Bearer TOKEN",
           "MINIO_NOTIFY_WEBHOOK_ENABLE_VAGUS": "on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_VAGUS": f"http://127.0.0.1:{notify_port}/v1/ingest/minio.audit",
           "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_VAGUS": "Bearer TOKEN", "MINIO_UPDATE": "off"}
    proc = subprocess.Popen([str(minio), "server", str(work / "data"), f"--address=127.0.0.1:{port}", "--quiet"], cwd=work, env=env,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        common.wait_port(port, proc=proc)
        time.sleep(2)
        traffic(port)
        time.sleep(3)
    finally:
        common.stop(proc)
        audit.stop()
        notify.stop()
    import socket
    changes = [(rb"127\.0\.0\.1:%d" % port, b"minio.example.com:9000"), (rb'127\.0\.0\.1:\d{5}', b"192.0.2.20:40000"),
               (rb'127\.0\.0\.1', b"192.0.2.20"), (rb'"host":"' + socket.gethostname().encode() + rb'"', b'"host":"minio.example.com"')]
    out = common.testdata("minio.audit")
    common.write(out / "audit.ndjson", b"".join(b.strip() + b"\n" for _, _, b in audit.bodies if b.strip()), changes)
    common.write(out / "notify.ndjson", b"".join(b.strip() + b"\n" for _, _, b in notify.bodies if b.strip()), changes)


if __name__ == "__main__":
    main()
