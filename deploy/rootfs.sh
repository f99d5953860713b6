#!/bin/sh
# Lays out all that programs need to run in an otherwise empty image: themselves, the libraries
# they are linked with, certificates to trust, a user. No shell, no package manager.
#
#   rootfs.sh OUT PROGRAM ...        PROGRAM or PROGRAM:NAME, where it is to be called otherwise
#
# For Debian and its relatives, in the image build and outside of it alike.
set -eu
out=$1
shift

mkdir -p "$out/usr/local/bin" "$out/etc/ssl/certs" "$out/data"
mkdir -p -m 1777 "$out/tmp"

for program in "$@"; do
    from=${program%%:*}
    name=$(basename "${program##*:}")
    cp -L "$from" "$out/usr/local/bin/$name"
    chmod 0755 "$out/usr/local/bin/$name"
    # A static program has none, and ldd says so by failing.
    libraries=$(ldd "$from" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }') || true
    for library in $libraries; do
        mkdir -p "$out$(dirname "$library")"
        cp -L "$library" "$out$library"
    done
    # Names of functions stay, for backtraces; what debuggers read goes.
    if command -v strip >/dev/null; then
        strip --strip-debug "$out/usr/local/bin/$name"
    fi
done

cp -L /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
echo 'baton:x:65532:65532:baton:/:/sbin/nologin' >"$out/etc/passwd"
echo 'baton:x:65532:' >"$out/etc/group"
echo 'hosts: files dns' >"$out/etc/nsswitch.conf"
chmod 0777 "$out/data"
