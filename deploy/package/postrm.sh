#!/bin/sh
# After the files went. Configuration, credentials, the ledger of a private
# Postgres and the queue stay until dpkg is told to purge; rpm knows no such
# thing and leaves them. The users stay: files of theirs may be elsewhere.
set -e

root=${DPKG_ROOT:-}
if [ "$1" = purge ]; then
  rm -rf "$root/etc/tranship" "$root/var/lib/tranship" "$root/var/lib/tranship-agent"
fi
if [ "$1" != upgrade ] && [ -d "$root/run/systemd/system" ]; then
  systemctl daemon-reload
fi
