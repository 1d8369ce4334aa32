"""A Model Context Protocol server over stdio with two harmless tools, for recordings."""

import json
import sys

TOOLS = [
    {"name": "search_tickets", "description": "Searches support tickets.", "inputSchema": {
        "type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}},
    {"name": "read_file", "description": "Reads a file from the share.", "inputSchema": {
        "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}},
]


def answer(method, params):
    if method == "initialize":
        return {"protocolVersion": params.get("protocolVersion", "2025-06-18"), "capabilities": {"tools": {}},
                "serverInfo": {"name": "ticket-tools", "version": "1.0.0"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        args = params.get("arguments") or {}
        if params.get("name") == "read_file" and ".." in args.get("path", ""):
            return {"content": [{"type": "text", "text": "path outside the share"}], "isError": True}
        return {"content": [{"type": "text", "text": "2 results for " + json.dumps(args)}], "isError": False}
    return {}


for line in sys.stdin:
    try:
        msg = json.loads(line)
    except ValueError:
        continue
    if "id" not in msg:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": msg["id"], "result": answer(msg.get("method"), msg.get("params") or {})}),
          flush=True)
