#!/bin/sh
# First process of a real node, in namespaces of its own: mounts, processes, network, host name.
# Arguments: the node's folder and its name. All that is mounted here ends with this process.
set -eu
folder=$1

mount --make-rshared /
hostname "$2"

# Short paths that are the same on every node (the path of a socket holds 107 characters).
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/node /run/lock
mount --bind "$folder" /run/node

# What programs write to fixed places lands in the node's folder and not on this machine.
mkdir -p "$folder/var-lib" "$folder/var-lib.work" "$folder/log"
mount -t overlay overlay \
    -o "lowerdir=/var/lib,upperdir=$folder/var-lib,workdir=$folder/var-lib.work" /var/lib
mount --bind "$folder/log" /var/log

# The kubelet wants these kernel settings and would change them for the whole machine: it
# finds them as it wants them. And each node is a machine of its own, with its own boots.
(cd "$folder/machine" && find . -type f) | while read -r file; do
    if [ -e "/$file" ]; then mount --bind "$folder/machine/$file" "/$file"; fi
done

: >"$folder/booted"
# Buries what loses its parent, as a first process must; the kernel kills all when it ends.
while :; do
    sleep 86400 &
    wait "$!" || true
done
