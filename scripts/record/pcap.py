"""Writes packet captures of made-up conversations, without sending a packet."""

import ssl
import struct
import subprocess

MAC = {True: b"\x02\x00\x00\x00\x00\x01", False: b"\x02\x00\x00\x00\x00\x02"}


def _sum(data):
    if len(data) % 2:
        data += b"\0"
    n = sum(struct.unpack(f"!{len(data) // 2}H", data))
    n = (n >> 16) + (n & 0xFFFF)
    return ~(n + (n >> 16)) & 0xFFFF


def _ip(address):
    return bytes(int(p) for p in address.split("."))


class Capture:
    """Collects packets; the clock moves by the milliseconds given to each call."""

    def __init__(self, start):
        self.now = start
        self.packets = []
        self.serial = 1

    def _packet(self, src, dst, proto, body, outbound, step=0.004):
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), self.serial & 0xFFFF, 0x4000, 64, proto, 0, _ip(src), _ip(dst))
        head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
        self.serial += 1
        self.now += step
        self.packets.append((self.now, MAC[not outbound] + MAC[outbound] + b"\x08\x00" + head + body))

    def udp(self, src, sport, dst, dport, data, outbound=True):
        size = 8 + len(data)
        pseudo = _ip(src) + _ip(dst) + struct.pack("!BBH", 0, 17, size)
        head = struct.pack("!HHHH", sport, dport, size, 0)
        check = _sum(pseudo + head + data) or 0xFFFF
        self._packet(src, dst, 17, head[:6] + struct.pack("!H", check) + data, outbound)

    def tcp(self, src, sport, dst, dport, turns, refuse=False, close=True):
        """One connection. turns is a list of (from client?, bytes)."""
        seq = {True: 1000 * self.serial, False: 7000 * self.serial}

        def send(client, flags, data=b""):
            a, ap, b, bp = (src, sport, dst, dport) if client else (dst, dport, src, sport)
            ack = seq[not client] if flags & 0x10 else 0
            head = struct.pack("!HHIIBBHHH", ap, bp, seq[client] & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 64240, 0, 0)
            pseudo = _ip(a) + _ip(b) + struct.pack("!BBH", 0, 6, len(head) + len(data))
            head = head[:16] + struct.pack("!H", _sum(pseudo + head + data)) + head[18:]
            self._packet(a, b, 6, head + data, client)
            seq[client] += len(data) + (1 if flags & 3 else 0)

        send(True, 0x02)
        if refuse:
            send(False, 0x14)
            return
        send(False, 0x12)
        send(True, 0x10)
        for client, data in turns:
            for at in range(0, len(data), 1400):
                send(client, 0x18, data[at:at + 1400])
            send(not client, 0x10)
        if close:
            send(True, 0x11)
            send(False, 0x11)
            send(True, 0x10)

    def write(self, path):
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            for t, data in self.packets:
                f.write(struct.pack("<IIII", int(t), int(t % 1 * 1e6), len(data), len(data)) + data)


def dns(name, qtype, ident, answers=None, rcode=0):
    """A DNS message: a query, or an answer if answers (a list of IPv4 or text) is given."""
    def encode(n):
        return b"".join(bytes([len(p)]) + p.encode() for p in n.split(".")) + b"\0"
    question = encode(name) + struct.pack("!HH", qtype, 1)
    if answers is None:
        return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + question
    out = struct.pack("!HHHHHH", ident, 0x8180 | rcode, 1, len(answers), 0, 0) + question
    for a in answers:
        data = _ip(a) if qtype == 1 else bytes([len(a)]) + a.encode()
        out += b"\xc0\x0c" + struct.pack("!HHIH", qtype, 1, 300, len(data)) + data
    return out


def tls(folder, name, payload=b"", version=None):
    """The turns of a TLS connection to a server called name: a real handshake, in memory."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/O=Example/CN={name}", "-keyout", key, "-out", cert], check=True, capture_output=True)
    server_ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_ctx.load_cert_chain(cert, key)
    server_ctx.set_alpn_protocols(["http/1.1"])
    client_ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_ctx.check_hostname, client_ctx.verify_mode = False, ssl.CERT_NONE
    client_ctx.set_alpn_protocols(["http/1.1"])
    if version:
        client_ctx.maximum_version = version
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    inbox = {True: ssl.MemoryBIO(), False: ssl.MemoryBIO()}  # what a side writes is noted, then given to the other
    turns = []
    client = client_ctx.wrap_bio(inbox[True], to_server, server_hostname=name)
    server = server_ctx.wrap_bio(inbox[False], to_client, server_side=True)
    for _ in range(6):
        for is_client, side, out in ((True, client, to_server), (False, server, to_client)):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            data = out.read()
            if data:
                turns.append((is_client, data))
                inbox[not is_client].write(data)
    client.write(payload or b"GET / HTTP/1.1\r\n\r\n")
    turns.append((True, to_server.read()))
    server.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    turns.append((False, to_client.read()))
    return turns
