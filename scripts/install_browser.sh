#!/usr/bin/env bash
# Installs Debian's Chromium for the tests of the dashboard. Playwright drives it where it lies (/usr/bin/chromium, or
# AEGIS_CHROMIUM); no browser is downloaded. Needs root.
set -euo pipefail
browser=${AEGIS_CHROMIUM:-/usr/bin/chromium}
if [ -x "$browser" ]; then
    echo "Chromium is here: $("$browser" --version 2> /dev/null)"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The fonts are those that the screenshots are taken with.
apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core
"$browser" --version
