"""ASGI middleware that writes one audit record for each JSON-RPC message of an MCP server.

Put it around the streamable HTTP app of any MCP server that is an ASGI app:

    app = Audit(server.streamable_http_app(), "tickets", open("/var/log/mcp/audit.log", "a"))
"""

import datetime
import json


class Audit:
    def __init__(self, app, server, out, limit=65536):
        self.app, self.server, self.out, self.limit = app, server, out, limit

    def record(self, scope, direction, session, body, calls, status=None):
        headers = {k.decode("latin1"): v.decode("latin1") for k, v in scope["headers"]}
        for message in messages(body[: self.limit]):
            if not isinstance(message, dict):
                continue
            if direction == "request":
                params = message.get("params") or {}
                calls[message.get("id")] = {k: v for k, v in (("method", message.get("method")), ("name", params.get("name")), ("uri", params.get("uri"))) if v}
            answers = calls.get(message.get("id")) if direction == "response" else None
            self.out.write(json.dumps({
                "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "mcp_server": self.server, "direction": direction, "session_id": session,
                "client_ip": (scope.get("client") or ("",))[0], "user_agent": headers.get("user-agent", ""),
                "user": headers.get("x-forwarded-user", ""), "protocol_version": headers.get("mcp-protocol-version", ""),
                **({"http_status": status} if status else {}), **({"in_reply_to": answers} if answers else {}), "message": message}, separators=(",", ":")) + "\n")
        self.out.flush()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        session = dict(scope["headers"]).get(b"mcp-session-id", b"").decode("latin1")
        state = {"in": b"", "out": b"", "status": 0, "session": session, "logged": False, "calls": {}}

        async def tee_receive():
            event = await receive()
            if event["type"] == "http.request":
                state["in"] += event.get("body", b"")
                if not event.get("more_body") and not state["logged"]:
                    state["logged"] = True
                    self.record(scope, "request", state["session"], state["in"], state["calls"])
            return event

        async def tee_send(event):
            if event["type"] == "http.response.start":
                state["status"] = event["status"]
                state["session"] = dict(event["headers"]).get(b"mcp-session-id", session.encode()).decode("latin1")
            elif event["type"] == "http.response.body":
                state["out"] += event.get("body", b"")
                if not event.get("more_body"):
                    self.record(scope, "response", state["session"], state["out"], state["calls"], state["status"])
            await send(event)

        await self.app(scope, tee_receive, tee_send)


def messages(body):
    """The JSON-RPC messages of a body: JSON, a list of it, or server-sent events."""
    text = body.decode("utf-8", "replace")
    parts = [line[5:] for line in text.splitlines() if line.startswith("data:")] or [text]
    for part in parts:
        try:
            value = json.loads(part)
        except ValueError:
            continue
        yield from value if isinstance(value, list) else [value]
