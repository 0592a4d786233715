#!/bin/sh
# Sends a request signed as Junheng's `identity.signatures` asks for: RFC 9421 with hmac-sha256, the body by RFC 9530.
# Needs curl and openssl.
#
#   export JUNHENG_SECRET=...       # the key's `secret`
#   ./sign.sh acme-1 POST http://127.0.0.1:10000/v1/chat/completions '{"model": "qwen2.5-7b", "messages": []}'
#
# What follows the body goes to curl. With PRINT=1 the headers are printed and nothing is sent; CREATED and NONCE take
# the place of now and of a random text. openssl is given the secret on its command line, which others on the
# machine can see while it runs: where that matters, sign by sign.py.
set -eu

[ $# -ge 3 ] || { echo "usage: JUNHENG_SECRET=... $0 KEY_ID METHOD URL [BODY] [CURL OPTION...]" >&2; exit 2; }
key_id=$1 method=$2 url=$3 body=${4-}
shift 3
: "${JUNHENG_SECRET:?is not set}"
[ $# -eq 0 ] || shift

target=${url#*://}
target=${target%%#*}
query=\?
case $target in *\?*) query=\?${target#*\?} ;; esac
path=${target%%\?*}
case $path in */*) path=/${path#*/} ;; *) path=/ ;; esac

digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
created=${CREATED:-$(date +%s)}
nonce=${NONCE:-$(openssl rand -hex 16)}
params="(\"@method\" \"@path\" \"@query\" \"content-digest\");created=$created;nonce=\"$nonce\";keyid=\"$key_id\";alg=\"hmac-sha256\""
signature=$(
    printf '"@method": %s\n"@path": %s\n"@query": %s\n"content-digest": %s\n"@signature-params": %s' \
        "$method" "$path" "$query" "$digest" "$params" |
        openssl dgst -sha256 -mac HMAC -macopt "key:$JUNHENG_SECRET" -binary |
        openssl base64 -A
)

if [ -n "${PRINT:-}" ]; then
    printf '%s\n' "content-digest: $digest" "signature-input: sig1=$params" "signature: sig1=:$signature:"
    exit
fi
[ -z "$body" ] || set -- -H "content-type: application/json" --data-raw "$body" "$@"
exec curl -sS --fail-with-body -X "$method" -H "content-digest: $digest" -H "signature-input: sig1=$params" \
    -H "signature: sig1=:$signature:" "$@" "$url"
