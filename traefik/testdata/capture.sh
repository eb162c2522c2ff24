#!/bin/sh
# Captures the answers in this folder from a real Traefik on loopback:
#   ./capture.sh /path/to/traefik
# Every *.http file is one whole HTTP/1.1 answer, headers included.
set -eu
traefik=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pid=
trap 'test -z "$pid" || kill "$pid"; rm -rf "$work"' EXIT
port=19480

# start NAME FLAG... runs Traefik on $work/NAME.yml; stop ends it.
start() {
	name=$1
	shift
	"$traefik" --api --entrypoints.traefik.address=127.0.0.1:$port --log.level=ERROR \
		--providers.file.filename="$work/$name.yml" "$@" >"$work/log" 2>&1 &
	pid=$!
}
stop() {
	kill "$pid"
	wait "$pid" || true
	pid=
}
get() { curl -si --http1.1 --user user:secret "http://127.0.0.1:$port$1"; }
await() {
	for _ in $(seq 100); do
		if get "$1" | grep -q "$2"; then return; fi
		sleep 0.1
	done
	echo "$1 never answered $2" >&2
	cat "$work/log" >&2
	exit 1
}

# All kinds of services and servers. Traefik's own API port is the server that is UP.
cat >"$work/kinds.yml" <<YAML
http:
  routers:
    web: {rule: "Host(\`web.test\`)", service: web}
    six: {rule: "Host(\`six.test\`)", service: six}
    split: {rule: "Host(\`split.test\`)", service: split}
    copy: {rule: "Host(\`copy.test\`)", service: copy}
    spare: {rule: "Host(\`spare.test\`)", service: spare}
    names: {rule: "Host(\`names.test\`)", service: names}
    lost: {rule: "Host(\`lost.test\`)", service: missing}
  services:
    web:
      loadBalancer:
        healthCheck: {path: /api/version, interval: 1s, timeout: 500ms}
        servers: [{url: "http://127.0.0.1:$port"}, {url: "http://127.0.0.1:1"}]
    six:
      loadBalancer:
        servers: [{url: "http://[fd00::2]:80"}, {url: "https://[fd00::3]"}, {url: "http://10.0.0.9", weight: 3}]
    names: {loadBalancer: {servers: [{url: "http://app.internal:8080/path"}, {url: "h2c://10.0.0.10:9000"}]}}
    split: {weighted: {services: [{name: web, weight: 3}, {name: six, weight: 1}]}}
    copy: {mirroring: {service: web, mirrors: [{name: six, percent: 10}]}}
    spare: {failover: {service: web, fallback: six}}
    idle: {loadBalancer: {servers: [{url: "http://10.0.0.11:80"}]}}
tcp:
  routers:
    db: {rule: "HostSNI(\`*\`)", service: db, entryPoints: [tcp]}
  services:
    db:
      loadBalancer:
        healthCheck: {interval: 1s, timeout: 500ms}
        servers: [{address: "127.0.0.1:$port"}, {address: "127.0.0.1:1"}, {address: "[fd00::4]:5432"}]
udp:
  routers: {dns: {service: dns, entryPoints: [udp]}}
  services: {dns: {loadBalancer: {servers: [{address: "10.0.0.12:53"}, {address: "[fd00::5]:53"}]}}}
YAML
start kinds --api.insecure --entrypoints.tcp.address=127.0.0.1:19481 --entrypoints.udp.address=127.0.0.1:19482/udp
await /api/http/services/web@file DOWN
await /api/tcp/services/db@file DOWN
get /api/rawdata >"$here/rawdata.http"
get /api/version >"$here/version.http"
get /api/overview >"$here/overview.http"
get /api/entrypoints >"$here/entrypoints.http"
get /api/http/routers >"$here/http-routers.http"
get /api/tcp/routers >"$here/tcp-routers.http"
get /api/udp/routers >"$here/udp-routers.http"
get /api/http/services >"$here/http-services.http"
get /api/tcp/services >"$here/tcp-services.http"
get /api/udp/services >"$here/udp-services.http"
get '/api/http/services?page=9' >"$here/page-beyond-the-end.http"
get /api/http/services/none@file >"$here/no-such-service.http"
get /elsewhere >"$here/no-route.http"
stop

# More services than one page holds.
{
	echo "http: {services: {"
	for i in $(seq 120); do
		echo "s$i: {loadBalancer: {servers: [{url: 'http://10.1.0.$i:80'}]}},"
	done
	echo "}}"
} >"$work/many.yml"
start many --api.insecure
await /api/http/services s120@file
get '/api/http/services?page=1&per_page=100' >"$here/many-1.http"
get '/api/http/services?page=2&per_page=100' >"$here/many-2.http"
stop

# Below a base path, behind basic auth (user:secret).
cat >"$work/guarded.yml" <<YAML
http:
  routers:
    ops: {rule: "Host(\`127.0.0.1\`) && PathPrefix(\`/ops\`)", service: api@internal, middlewares: [auth], entryPoints: [traefik]}
  middlewares:
    auth: {basicAuth: {users: ["user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="]}}
YAML
start guarded --api.basepath=/ops
await /ops/api/rawdata ops@file
get /ops/api/version >"$here/guarded-version.http"
get /ops/api/rawdata >"$here/guarded-rawdata.http"
curl -si --http1.1 "http://127.0.0.1:$port/ops/api/rawdata" >"$here/guarded-no-password.http"
stop
