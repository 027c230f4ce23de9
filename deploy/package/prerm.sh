#!/bin/sh
# Before the files go: the daemons stop, and put down what they hold, unless a
# newer version takes over. dpkg says remove, rpm that 0 versions will be left.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d "${DPKG_ROOT:-}/run/systemd/system" ]; then
  systemctl disable --now tranship-agent.service tranship-coordinator.service
fi
