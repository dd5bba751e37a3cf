#!/usr/bin/env bash
# Installs Debian's PostgreSQL for the tests of the tracking store: the server's programs only, no running cluster.
# The tests start a throw-away cluster of their own, as an unprivileged user, in a temporary folder. Needs root.
set -euo pipefail
if compgen -G "/usr/lib/postgresql/*/bin/initdb" > /dev/null; then
    echo "PostgreSQL is here: $(compgen -G "/usr/lib/postgresql/*/bin/initdb" | tail -n 1)"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends postgresql-common
# The package would create and start a cluster "main"; nobody needs it here.
mkdir -p /etc/postgresql-common/createcluster.d
echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.d/no-main-cluster.conf
apt-get install -q -y --no-install-recommends postgresql
compgen -G "/usr/lib/postgresql/*/bin/initdb"
