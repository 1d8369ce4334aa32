#!/usr/bin/env python3
"""Makes SYNTHETIC VPC flow logs: default format and all fields up to version 5.

Needs    python3.
Installs nothing.
Writes   schemas/sources/aws.vpc_flow/testdata/synthetic_default.log, synthetic_all.log
"""

import synthetic as s

HEAD = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
MORE = " vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type sublocation-id pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path"


def flow(i, src, dst, sport, dport, proto, packets, size, action="ACCEPT", version=2):
    return f"{version} 111122223333 eni-0a1b2c3d {src} {dst} {sport} {dport} {proto} {packets} {size} {int(s.unix(i))} {int(s.unix(i + 60))} {action} OK"


ROWS = [flow(1, "192.0.2.12", "198.51.100.9", 36844, 443, 6, 5200000, 7516192768), flow(2, "203.0.113.66", "192.0.2.12", 41000, 11434, 6, 12, 1800), flow(3, "203.0.113.66", "192.0.2.12", 41001, 22, 6, 1, 60, "REJECT"),
        flow(4, "192.0.2.12", "192.0.2.53", 40001, 53, 17, 1, 76), flow(5, "192.0.2.12", "203.0.113.66", 50113, 4444, 6, 40, 9000), flow(6, "203.0.113.99", "192.0.2.12", 0, 0, 1, 4, 336)]
EMPTY = f"2 111122223333 eni-0a1b2c3d - - - - - - - {int(s.unix(7))} {int(s.unix(67))} - NODATA"

if __name__ == "__main__":
    s.write("aws.vpc_flow", "synthetic_default.log", [HEAD, *ROWS, EMPTY])
    s.write("aws.vpc_flow", "synthetic_all.log", [HEAD + MORE] + [
        r.replace("2 1111", "5 1111", 1) + f" vpc-1 subnet-1 i-0abc {3 if i else 19} IPv4 {r.split()[3]} {r.split()[4]} us-west-2 usw2-az1 - - - {'S3' if i == 0 else '-'} {'egress' if r.split()[3].startswith('192') else 'ingress'} {8 if i == 0 else '-'}"
        for i, r in enumerate(ROWS)])
