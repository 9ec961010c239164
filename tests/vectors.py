#!/usr/bin/env python3
"""Print the known answers that tests/unit/keys.c and tests/unit/token.c hold.

Written from the descriptions (BLAKE2b as crypto_kdf and crypto_generichash use
it, RFC 7693; SipHash-2-4, Aumasson and Bernstein, appendix A), without
libsodium, so that the tests do not compare the code with itself.
"""
import base64
import hashlib
import struct


def kdf(master, number, length=32):
    return hashlib.blake2b(b'', digest_size=length, key=master,
                           salt=struct.pack('<Q', number),
                           person=b'sessgate').digest()


def mac(key, message, length):
    return hashlib.blake2b(message, digest_size=length, key=key).digest()


def siphash(key, message):
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack('<QQ', key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
         k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    whole = len(message) // 8 * 8
    words = [struct.unpack_from('<Q', message, i)[0]
             for i in range(0, whole, 8)]
    tail = message[whole:] + bytes(7 - len(message) % 8)
    words.append(struct.unpack('<Q', tail + bytes([len(message) & 255]))[0])
    for word in words:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xff
    rounds(4)
    return struct.pack('<Q', v[0] ^ v[1] ^ v[2] ^ v[3])


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def fields(*parts):
    return b''.join(struct.pack('>I', len(p)) + p for p in parts)


# The vector of the SipHash paper.
assert siphash(bytes(range(16)),
               bytes(range(15))).hex() == 'e545be4961ca29a1'

group = bytes(range(0x00, 0x20))
key = bytes(range(0x20, 0x40))
ref = bytes([0xab]) + struct.pack('>I', 1700000000) + bytes(range(1, 8))
secret = bytes(range(0xf0, 0x100))

for use in range(1, 9):
    print('subkey', use, kdf(key if use < 5 else group, use,
                             16 if use == 1 else 32).hex())
for realm in (b'', b'shop.example'):
    head = bytes([7]) + ref + secret
    print('token', realm.decode(),
          text(head + siphash(kdf(key, 1, 16), head + realm)))
print('hash', hashlib.sha256(secret).hexdigest())
print('successor', mac(kdf(group, 6), ref + secret, 16).hex())
print('group byte', mac(kdf(group, 5), fields(b'shop', b'alice'), 32)[:1].hex())
idempotency = mac(kdf(group, 8), fields(b'shop', b'login', b'k-1'), 32)
print('idempotency id', idempotency.hex())
print('idempotency secret',
      mac(kdf(key, 3), idempotency + bytes(range(16)), 16).hex())
day = 1700000000000 // 86400000
print('csrf', text(bytes([7]) + mac(kdf(key, 4),
                                    ref + struct.pack('>Q', day), 16)))


def number(value):
    return struct.pack('>Q', value)


def part(value):
    return struct.pack('>I', len(value)) + value


# The record of tests/unit/record.c, known_session().
head = b'L' + b'0003' + b'000000000005'
body = (bytes([1, 7]) + number(9) + number(1700000000000) +
        number(1700000000500) + number(1800000) + number(1700028800000) +
        bytes(range(0x40, 0x60)) + b'\1' + bytes(range(0x60, 0x80)) +
        number(1700000010000) + part(bytes([192, 0, 2, 7])) + part(b'shop') +
        part(b'alice') + part(b'c1') + part(b'c1\nc2') + part(b'admin,user') +
        part(b'agent') + part(b'SESSION_DATA_A=1\n') + part(b'{"a":1}'))
seal = mac(kdf(key, 2), bytes(range(16)) + ref + head + body, 16)
print('record', (head + b'1700000001000' + body + seal).hex())

# The same with 1,100 bytes of data, which stand apart.
data = b'{"a":"' + b'x' * 1092 + b'"}'
body = body[2:-len(part(b'{"a":1}'))] + struct.pack('>I', len(data))
body = bytes([2, 7]) + struct.pack('>I', 30 + 6 + len(body)) + body
seal = mac(kdf(key, 2), bytes(range(16)) + ref + head + body, 16)
print('record head', (head + b'1700000001000' + body + seal).hex())
print('record data seal', mac(kdf(key, 2), seal + data, 16).hex())
