"""For samples that are made, not recorded: programs that cannot run here."""

import datetime
import json

import common

START = datetime.datetime(2026, 11, 20, 9, 30, tzinfo=datetime.timezone.utc)


def at(seconds, layout="%Y-%m-%dT%H:%M:%S.%fZ"):
    """The time of an event, so many seconds after the samples' first."""
    return (START + datetime.timedelta(seconds=seconds)).strftime(layout)


def unix(seconds):
    return START.timestamp() + seconds


def ms(seconds):
    return int(unix(seconds) * 1000)


def digest(text, size=64):
    """A made-up hash that is the same in every run."""
    import hashlib
    return (hashlib.sha256(text.encode()).hexdigest() * 2)[:size]


def write(source, name, records):
    """records: dicts (one JSON object a line), or texts."""
    lines = [r if isinstance(r, str) else json.dumps(r, separators=(",", ":"), ensure_ascii=False) for r in records]
    common.write(common.testdata(source) / name, ("\n".join(lines) + "\n").encode())
