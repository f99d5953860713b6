#!/bin/sh
# Makes what a deployment's parts share: passwords, keys, one file each, for docker compose and
# Kubernetes. What is there already stays, so it can be run again.
#
#   deploy/secrets.sh [DIRECTORY]      by default deploy/secrets
#   deploy/secrets.sh --sim [DIRECTORY]   also what Meta and Salesforce would give, for simulators
#
# Files may be read by everybody, since containers run as another user; the directory may not.
set -eu
sim=no
if [ "${1:-}" = --sim ]; then
    sim=yes
    shift
fi
dir=${1:-$(dirname "$0")/secrets}
mkdir -p -m 0700 "$dir"
cd "$dir"

random() { openssl rand -hex 24; }
keep() { # NAME, content on standard input
    if [ -s "$1" ]; then cat >/dev/null; else cat >"$1"; fi
    chmod 0444 "$1"
}

openssl rand -hex 32 | keep conversation_key_secret
printf 'k1:%s\n' "$(openssl rand -base64 32)" | keep master_key
random | keep console_token
# People and tokens of the console: docs/operations.md, "Who may sign in". Blank: the token alone.
printf '' | keep console_users
printf '' | keep console_oidc_client_secret

# NATS: one user per service, and those for people.
if [ ! -s nats_passwords ]; then
    for user in ingress handoff assistant egress campaigns console observer operator admin; do
        password=$(random)
        printf 'NATS_PASSWORD_%s: "%s"\n' "$(echo $user | tr a-z A-Z)" "$password"
        printf 'nats://%s:%s@nats:4222\n' "$user" "$password" >"nats_url_$user"
        chmod 0444 "nats_url_$user"
    done >nats_passwords
    chmod 0444 nats_passwords
fi

# Valkey: services reach their own keys, and nothing that administers. Whoever has no password may
# ask whether it lives.
if [ ! -s valkey_users ]; then
    {
        echo 'user default on nopass resetkeys resetchannels -@all +ping'
        for user in handoff egress campaigns console; do
            password=$(random)
            digest=$(printf %s "$password" | openssl dgst -sha256 -r | cut -d' ' -f1)
            echo "user $user on #$digest ~baton:* resetchannels -@all +@read +@write +@connection +@scripting +@transaction +time -@dangerous"
            printf 'redis://%s:%s@valkey:6379\n' "$user" "$password" >"redis_url_$user"
            chmod 0444 "redis_url_$user"
        done
    } >valkey_users
    chmod 0444 valkey_users
fi

if [ $sim = yes ]; then
    random | keep whatsapp_app_secrets
    random | keep whatsapp_verify_token
    random | keep whatsapp_access_token
    if [ ! -s salesforce_jwt_private_key ]; then
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out salesforce_jwt_private_key 2>/dev/null
        chmod 0444 salesforce_jwt_private_key
    fi
    openssl pkey -in salesforce_jwt_private_key -pubout 2>/dev/null | keep salesforce_jwt_public_key
else
    for name in whatsapp_app_secrets whatsapp_verify_token whatsapp_access_token salesforce_jwt_private_key salesforce_jwt_public_key; do
        [ -s "$name" ] || echo "still to be put into $dir: $name" >&2
    done
fi
