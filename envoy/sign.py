#!/usr/bin/env python3
"""Sends a request signed as Junheng's `identity.signatures` asks for: RFC 9421 with hmac-sha256, the body by RFC 9530.

    export JUNHENG_SECRET=...       # the key's `secret`
    python3 sign.py acme-1 POST http://127.0.0.1:10000/v1/chat/completions '{"model": "qwen2.5-7b", "messages": []}'

The standard library is all it needs. To sign in a program of one's own, import `sign`.
"""

import argparse
import base64
import hashlib
import hmac
import os
import secrets
import sys
import time
import urllib.error
import urllib.request


def sign(key_id, secret, method, url, body=b"", created=None, nonce=None):
    """The headers that make the request a signed one. Each request needs its own: a nonce holds once."""
    target = url.split("://", 1)[-1].split("#", 1)[0]
    path, _, query = target.partition("?")
    path = "/" + path.partition("/")[2]
    digest = "sha-256=:%s:" % base64.b64encode(hashlib.sha256(body).digest()).decode()
    covered = {"@method": method, "@path": path, "@query": "?" + query, "content-digest": digest}
    params = '(%s);created=%d;nonce="%s";keyid="%s";alg="hmac-sha256"' % (
        " ".join('"%s"' % name for name in covered),
        time.time() if created is None else created,
        nonce or secrets.token_urlsafe(16),
        key_id,
    )
    lines = ['"%s": %s' % pair for pair in [*covered.items(), ("@signature-params", params)]]
    mac = hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).digest()
    return {
        "content-digest": digest,
        "signature-input": "sig1=" + params,
        "signature": "sig1=:%s:" % base64.b64encode(mac).decode(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("key_id", help="the key's id; its secret comes from the environment, JUNHENG_SECRET")
    parser.add_argument("method")
    parser.add_argument("url")
    parser.add_argument("body", nargs="?", default="")
    parser.add_argument("--created", type=int, help="seconds since 1970; now, if not given")
    parser.add_argument("--nonce", help="random, if not given")
    parser.add_argument("--print", action="store_true", help="print the headers and send nothing")
    args = parser.parse_args()
    body = args.body.encode()
    secret = os.environ.get("JUNHENG_SECRET") or parser.error("JUNHENG_SECRET is not set")
    headers = sign(args.key_id, secret, args.method, args.url, body, args.created, args.nonce)
    if args.print:
        print("\n".join("%s: %s" % header for header in headers.items()))
        return 0
    headers["content-type"] = "application/json"
    request = urllib.request.Request(args.url, body or None, headers, method=args.method)
    try:
        with urllib.request.urlopen(request) as answer:
            sys.stdout.buffer.write(answer.read())
        return 0
    except urllib.error.HTTPError as refused:
        print(refused.code, refused.read().decode(errors="replace"), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
