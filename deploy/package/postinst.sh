#!/bin/sh
# After the files of a version are in place. It starts nothing: whoever has
# configured a daemon does. What runs already goes on as the new version.
# dpkg says configure and, of an upgrade, the version before; rpm says how many
# versions are there now.
set -e

case "$1" in
configure) upgrade=$2 ;;
1) upgrade= ;;
[2-9]) upgrade=$1 ;;
*) exit 0 ;; # an attempt at something else was given up
esac

root=${DPKG_ROOT:-}
systemd-sysusers ${root:+--root="$root"} tranship.conf
systemd-tmpfiles ${root:+--root="$root"} --create tranship.conf

if [ -d "$root/run/systemd/system" ]; then
  systemctl daemon-reload
  if [ -n "$upgrade" ]; then
    systemctl try-restart tranship-coordinator.service tranship-agent.service
  fi
fi
