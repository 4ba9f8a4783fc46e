#!/bin/sh
# Starts ClickHouse with the password of the secret. users.xml takes it from the
# environment of the server process, which nobody but its own user can read; it
# is never an argument and never in a file inside the container.
set -eu

secret=/run/secrets/clickhouse_password
if ! [ -r "$secret" ]; then
	echo "start.sh: $secret cannot be read by user $(id -u); chmod 644 the file that CLICKHOUSE_PASSWORD_FILE names (keep its directory at 700)" >&2
	exit 1
fi
CLICKHOUSE_PASSWORD=$(cat "$secret")
if [ "${#CLICKHOUSE_PASSWORD}" -lt 16 ]; then
	echo "start.sh: the password has fewer than 16 characters; make one with openssl rand -hex 24" >&2
	exit 1
fi
export CLICKHOUSE_PASSWORD
exec clickhouse-server --config-file=/etc/clickhouse-server/config.xml
