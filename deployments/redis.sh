#!/bin/sh
# Redis for several of Prefect's servers (docker-compose.yml, profile `large`). The password goes from the environment to its
# standard input: on a command line every user of the host could read it, and in a file it would be one secret more.
# It holds events that are on their way and the slots of runs: nothing is evicted, and a second is what a host that dies loses.
exec redis-server - <<END
requirepass ${REDIS_PASSWORD:?set it in .env}
port ${REDIS_PORT:-6379}
dir ${REDIS_FOLDER:-/data}
appendonly yes
save ""
maxmemory-policy noeviction
END
