#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay between programs that others wrote: web server and client, load balancer, database, network measurement.

load relay

needs() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "no $program"
	done
}

# background COMMAND...: a server that ends with the test; what it says is in its own .out.
background() {
	"$@" >"${1##*/}.out" 2>&1 3>&- &
}

listens() {
	(: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# web: nginx with ./www, by sendfile; its port is $web, and it logs who asks.
web() {
	web=$(free_port)
	mkdir -p www temp
	chmod -R a+rX . # its workers are somebody else
	cat >nginx.conf <<-END
		daemon off;
		master_process off;
		pid nginx.pid;
		error_log stderr crit;
		events {}
		http {
			access_log off;
			client_body_temp_path temp/a; proxy_temp_path temp/b; fastcgi_temp_path temp/c;
			uwsgi_temp_path temp/d; scgi_temp_path temp/e;
			sendfile on;
			keepalive_requests 100000;
			$1
			server {
				listen 127.0.0.1:$web $2;
				root $PWD/www;
				location /who { return 200 "\$proxy_protocol_addr\n"; }
			}
		}
	END
	background nginx -p "$PWD" -c nginx.conf -e stderr
	eventually listens "$web"
}

@test "curl takes 100 MB from nginx" {
	needs nginx curl
	mkdir www
	data www/big 100000000
	web
	for lane in auto kernel user; do
		relay --lane $lane 127.0.0.1:0 "127.0.0.1:$web"
		curl -sSf "http://$here/big" | same - www/big
		stops 0
	done
}

@test "curl makes a thousand requests on one connection, and fifty at a time on others" {
	needs nginx curl
	mkdir www
	echo small >www/small
	web
	relay --workers 2 --metrics 127.0.0.1:0 127.0.0.1:0 "127.0.0.1:$web"
	[ "$(curl -sSf "http://$here/small?[1-1000]" | grep -cx small)" -eq 1000 ]
	shows accepted_total 1
	[ "$(curl -sSfZ --parallel-max 50 --no-keepalive -H 'Connection: close' "http://$here/small?[1-1000]" |
		grep -cx small)" -eq 1000 ]
	eventually shows connections 0
	shows reset_total 0
	shows unserved_total 0
	stops 0
}

@test "nginx learns from the PROXY protocol who the client is" {
	needs nginx curl
	web "" proxy_protocol
	for way in send-v1 send-v2; do
		relay --proxy-protocol $way 127.0.0.1:0 "127.0.0.1:$web"
		[ "$(curl -sSf --interface 127.0.0.8 "http://$here/who")" = 127.0.0.8 ]
		stops 0
	done
}

# balancer LISTEN-OPTIONS SERVER SERVER-OPTIONS: HAProxy in TCP mode; its port is $balancer.
balancer() {
	balancer=$(free_port)
	cat >haproxy.cfg <<-END
		defaults
			mode tcp
			timeout connect 5s
			timeout client 60s
			timeout server 60s
		listen balancer
			bind 127.0.0.1:$balancer $1
			server one $2 $3
	END
	background haproxy -db -f haproxy.cfg
	eventually listens "$balancer"
}

@test "HAProxy in front says who the client is, and the relay passes it on" {
	needs haproxy nginx curl
	web "" proxy_protocol
	relay --proxy-protocol accept --proxy-protocol send 127.0.0.1:0 "127.0.0.1:$web"
	for way in send-proxy send-proxy-v2; do
		balancer "" "$here" $way
		[ "$(curl -sSf --interface 127.0.0.8 "http://127.0.0.1:$balancer/who")" = 127.0.0.8 ]
	done
	stops 0
}

@test "HAProxy behind understands who the client is, and sends it on" {
	needs haproxy nginx curl
	mkdir www
	data www/big 10000000
	web "" proxy_protocol
	balancer accept-proxy "127.0.0.1:$web" send-proxy-v2
	for way in send-v1 send-v2; do
		relay --proxy-protocol $way 127.0.0.1:0 "127.0.0.1:$balancer"
		[ "$(curl -sSf --interface 127.0.0.8 "http://$here/who")" = 127.0.0.8 ]
		curl -sSf "http://$here/big" | same - www/big
		stops 0
	done
}

@test "Redis answers ten thousand requests, stores a large value, and says the same as without a relay" {
	needs redis-server redis-cli redis-benchmark
	background redis-server --bind 127.0.0.1 --port 0 --unixsocket "$PWD/redis" --save "" --appendonly no
	eventually test -S redis
	relay --workers 2 127.0.0.1:0 "unix:$PWD/redis"
	client() { redis-cli -h 127.0.0.1 -p "${here##*:}" "$@"; }
	[ "$(client ping)" = PONG ]
	redis-benchmark -h 127.0.0.1 -p "${here##*:}" -n 5000 -c 20 -P 4 -q -t set,get
	head -c 5000000 /dev/urandom | base64 -w 0 >value
	[ "$(client -x set large <value)" = OK ]
	client get large | head -c "$(stat -c %s value)" | same - value
	[ "$(yes incr count | head -n 1000 | client | tail -n 1)" = 1000 ]
	[ "$(redis-cli -s "$PWD/redis" get count)" = 1000 ]
	stops 0
}

@test "iperf3 measures through it, both ways, with four streams" {
	needs iperf3
	port=$(free_port)
	background iperf3 -s --forceflush -B 127.0.0.1 -p "$port"
	eventually grep -q listening iperf3.out
	relay --workers 2 127.0.0.1:0 "127.0.0.1:$port"
	for way in "" -R; do
		# shellcheck disable=SC2086
		iperf3 -c 127.0.0.1 -p "${here##*:}" -n 200M -P 4 $way -J >result
		# The receiver stops to count while some of it is still under way.
		jq -e '.end.sum_sent.bytes >= 200000000 and .end.sum_received.bytes >= 100000000 and (has("error") | not)' result
		echo "# iperf3${way:+ $way}: $(jq -r '.end.sum_received.bits_per_second / 8e6 | floor' result) MB/s" >&3
	done
	stops 0
}
