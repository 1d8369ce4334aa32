#!/usr/bin/env python3
"""Makes a corpus of any size from the recordings, for demos and benchmarks.

Usage    mix.py --events N --out DIR [--seed 1] [--start 2026-01-15T09:00:00Z] [--rate 1000]
                [--share nginx.access=50 ...]
Needs    python3.
Writes   DIR/<source>.ndjson  one record a line
         DIR/order.txt        the source of each record in order of time

Records are taken in the order of their recording, again and again. Ids get new
values (equal ids of one round stay equal, so that stages and traces still
belong together), and all times move by the same span, so that durations stay.
OpenTelemetry requests are split: one span a record. Equal arguments give equal
bytes.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import random
import re

import common

UTC = datetime.timezone.utc
HEX = rb"([0-9a-f]{16,32})"
UUID = rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
STAMP = rb"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?)"


def field(names, value, quoted=True):
    """A pattern for "name":"value" whatever the blanks; group 2 is the value."""
    q = b'"' if quoted else b""
    return re.compile(rb'("(?:' + names + rb')": ?' + q + b")" + value + b"(?=" + (q or rb"[,}]") + b")")


class Source:
    def __init__(self, share, files, ids, times):
        self.share, self.files, self.ids, self.times = share, files, ids, times


# The first time pattern says when a record happened.
SOURCES = {
    "nginx.access": Source(62, ["vagus_json.ndjson"], [field(b"request_id", HEX)],
                           [field(b"msec", rb"(\d+\.\d+)", False), field(b"time_iso8601", STAMP)]),
    "microsoft.sysmon": Source(12, ["otrf.ndjson", "synthetic_model_server.ndjson"], [],
                               [field(b"UtcTime", STAMP), field(b"@timestamp|EventTime|EventReceivedTime|TimeCreated|TimeGenerated", STAMP)]),
    "kubernetes.audit": Source(20, ["audit.ndjson"], [field(b"auditID", UUID)],
                               [field(b"requestReceivedTimestamp|stageTimestamp", STAMP)]),
    "opentelemetry.genai": Source(5, ["openai_v2.ndjson", "openllmetry.ndjson", "agent.ndjson", "openllmetry_old.ndjson"],
                                  [field(b"traceId|spanId|parentSpanId", HEX)],
                                  [field(b"startTimeUnixNano|endTimeUnixNano|timeUnixNano", rb"(\d{19})")]),
    "litellm.proxy": Source(1, ["standard_logging.ndjson"],
                            [field(b"id|litellm_call_id|trace_id", UUID), field(b"id", rb"(chatcmpl-[0-9a-f-]{12,36})")],
                            [field(b"startTime|endTime|completionStartTime|start_time|end_time", rb"(\d{10}\.\d+)", False)]),
}


def parse(value):
    """Seconds since 1970 of any of the forms above, and how to write that form."""
    text = value.decode()
    if re.fullmatch(r"\d{19}", text):
        return int(text) / 1e9, lambda t: str(int(t * 1e6) * 1000)
    if re.fullmatch(r"\d+\.\d+", text):
        places = len(text.split(".")[1])
        return float(text), lambda t: f"{t:.{min(places, 6)}f}"
    zone = "Z" if text.endswith("Z") else "+00:00" if text.endswith("+00:00") else ""
    body = text.removesuffix(zone) if zone else text
    whole, _, fraction = body.partition(".")
    when = datetime.datetime.fromisoformat(whole.replace(" ", "T")).replace(tzinfo=UTC).timestamp()
    when += float("0." + fraction) if fraction else 0

    def write(t):
        d = datetime.datetime.fromtimestamp(t, UTC)
        out = d.strftime("%Y-%m-%d" + body[10] + "%H:%M:%S")
        return out + ("." + f"{d.microsecond:06d}".ljust(len(fraction), "0")[:len(fraction)] if fraction else "") + zone
    return when, write


def load(name, source):
    records = []
    for file in source.files:
        path = common.REPO / "schemas" / "sources" / name / "testdata" / file
        for line in path.read_bytes().splitlines():
            if name == "opentelemetry.genai":
                records += split(line)
            elif any(t.search(line) for t in source.times[:1]):
                records.append(line)
    return records


def split(line):
    out = []
    for rs in json.loads(line)["resourceSpans"]:
        for ss in rs["scopeSpans"]:
            for span in ss["spans"]:
                one = {"resourceSpans": [{"resource": rs["resource"], "scopeSpans": [{**ss, "spans": [span]}]}]}
                out.append(json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode())
    return out


def renew(line, source, round_no, when):
    """The record with the ids of this round, moved to when."""
    first = source.times[0].search(line)
    delta = when - parse(first.group(2))[0]

    def new_id(m):
        old = m.group(2)
        fresh = iter(hashlib.blake2b(old + b"/%d" % round_no, digest_size=32).hexdigest())
        prefix = b"chatcmpl-" if old.startswith(b"chatcmpl-") else b""
        return m.group(1) + prefix + bytes(c if c == 45 else ord(next(fresh)) for c in old[len(prefix):])

    def new_time(m):
        old, write = parse(m.group(2))
        return m.group(1) + write(old + delta).encode()

    for pattern in source.ids:
        line = pattern.sub(new_id, line)
    for pattern in source.times:
        line = pattern.sub(new_time, line)
    return line


def main():
    args = argparse.ArgumentParser(description="Makes a corpus of any size from the recordings.")
    args.add_argument("--events", type=int, required=True)
    args.add_argument("--out", type=pathlib.Path, required=True)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--start", default="2026-01-15T09:00:00Z", help="time of the first event, UTC")
    args.add_argument("--rate", type=float, default=1000, help="events per second of event time")
    args.add_argument("--share", action="append", default=[], metavar="SOURCE=WEIGHT",
                      help="default: " + " ".join(f"{n}={s.share}" for n, s in SOURCES.items()))
    a = args.parse_args()
    weights = {n: float(s.share) for n, s in SOURCES.items()}
    for item in a.share:
        name, _, weight = item.partition("=")
        if name not in SOURCES:
            raise SystemExit(f"unknown source {name!r}; known: {', '.join(SOURCES)}")
        weights[name] = float(weight)
    pick = random.Random(a.seed)
    start = parse(a.start.encode())[0]
    records = {n: load(n, SOURCES[n]) for n, w in weights.items() if w > 0}
    taken, size = dict.fromkeys(records, 0), dict.fromkeys(records, 0)
    a.out.mkdir(parents=True, exist_ok=True)
    files = {n: open(a.out / f"{n}.ndjson", "wb") for n in records}
    names, w = list(records), [weights[n] for n in records]
    with open(a.out / "order.txt", "w", encoding="utf-8") as order:
        for i in range(a.events):
            name = pick.choices(names, w)[0]
            round_no, at = divmod(taken[name], len(records[name]))
            line = renew(records[name][at], SOURCES[name], round_no, start + i / a.rate) + b"\n"
            files[name].write(line)
            order.write(name + "\n")
            taken[name] += 1
            size[name] += len(line)
    for name, f in files.items():
        f.close()
        print(f"{name}: {taken[name]} events, {size[name] // max(1, taken[name])} bytes each")
    print(f"total: {a.events} events, {sum(size.values()) // max(1, a.events)} bytes each")


if __name__ == "__main__":
    main()
