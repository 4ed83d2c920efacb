#!/bin/sh
# box-programs.sh: puts the box's stand-ins, and what they run, into /run/knox-lab: there they are seen too when the box's own /root
# lies over a clone, or a node, in root's home.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p /run/knox-lab/bin
cp "$here"/box/* /run/knox-lab/bin/
cp "$here/../../.lab/bin/geli-block.mjs" /run/knox-lab/
node=$(realpath "$(command -v node)")
case $node in
  /root/*) [ -e /run/knox-lab/node ] || cp "$node" /run/knox-lab/node ;;
  *) ln -sf "$node" /run/knox-lab/node ;;
esac
