#!/usr/bin/env python3
"""Writes schemas/ocsf/facts.json, the facts of OCSF that export and check need.

    python3 scripts/ocsf/facts.py EXPORT.json schemas/event/event.yaml > schemas/ocsf/facts.json

EXPORT.json is the schema as its server exports it; the Python package
ocsf-json-schema carries it (ocsf_json_schema/ocsf/<version>.json). OCSF is
under the Apache License 2.0. Only names, requirements, types, enum values and
constraints are taken, of the classes in event.yaml and the objects they reach;
no descriptions.
"""
import json
import re
import sys


def attribute(a):
    """[type or object name, requirement, array, enum values]; trailing blanks are cut."""
    kind = a["type"]
    if kind == "object_t":
        kind = "@" + a["object_type"]
    enum = sorted(a.get("enum") or {}, key=lambda v: (len(v), v))
    out = [kind, {"required": "r", "recommended": "c", "optional": "o"}[a["requirement"]], bool(a.get("is_array")), enum]
    for blank in ([], False):
        if out[-1] == blank:
            out.pop()
    return out


def entity(e):
    # The _dt twins belong to the profile datetime, which nothing here uses.
    attrs = {k: attribute(v) for k, v in sorted(e["attributes"].items()) if not k.endswith("_dt")}
    out = {"attributes": attrs}
    for name in ("at_least_one", "just_one"):
        if (e.get("constraints") or {}).get(name):
            out[name] = e["constraints"][name]
    return out


def main():
    schema = json.load(open(sys.argv[1]))
    wanted = {int(u) for u in re.findall(r"\{uid: (\d+),", open(sys.argv[2]).read())} | {0}
    classes, todo = {}, set()
    for c in schema["classes"].values():
        if c.get("uid") not in wanted:
            continue
        out = entity(c)
        out.update(name=c["name"], category=c.get("category_uid", 0), profiles=sorted(c.get("profiles") or []))
        classes[str(c["uid"])] = out
        todo |= {a[0][1:] for a in out["attributes"].values() if a[0][0] == "@"}
    objects = {}
    while todo:
        name = todo.pop()
        if name in objects:
            continue
        objects[name] = entity(schema["objects"][name])
        todo |= {a[0][1:] for a in objects[name]["attributes"].values() if a[0][0] == "@"}
    types = {k: v.get("type", k) for k, v in schema["dictionary"]["types"]["attributes"].items()}
    lines = ['{"licence":"Facts of the Open Cybersecurity Schema Framework, Apache License 2.0; written by scripts/ocsf/facts.py",',
             '"version":%s,' % json.dumps(schema["version"]), '"types":%s,' % json.dumps(types, sort_keys=True, separators=(",", ":"))]
    for key, table in (("classes", classes), ("objects", objects)):
        rows = ["%s:%s" % (json.dumps(k), json.dumps(v, sort_keys=True, separators=(",", ":"))) for k, v in sorted(table.items())]
        lines.append('"%s":{\n%s\n}%s' % (key, ",\n".join(rows), "," if key == "classes" else "}"))
    print("\n".join(lines))


main()
