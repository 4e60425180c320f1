#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: one side breaks, and what it had said before arrives.

load relay

lanes=(auto "auto --no-io-uring" kernel user)

@test "the answer of a server that closes without reading all arrives, by TCP and UNIX sockets" {
	for address in 127.0.0.1:0 unix:target; do
		serve "$address" early "$address" 50000
		for lane in "${lanes[@]}"; do
			echo "--- lane $lane to $address"
			relay --metrics 127.0.0.1:0 --lane $lane 127.0.0.1:0 "${at[$address]}"
			for _ in 1 2 3 4 5 6 7 8; do
				[ "$(peer push "$here" 3000000)" = 50000 ]
			done
			eventually shows connections 0
			shows reset_total 8
			stops 0
		done
	done
}

@test "an early 413 of nginx, which lingers or does not, reaches curl" {
	command -v nginx curl >/dev/null || skip "needs nginx and curl"
	head -c 8M /dev/zero >body
	for lingering in always off; do
		cat >nginx.conf <<-END
			daemon off; pid $PWD/nginx.pid; error_log stderr; worker_processes 1;
			events { }
			http {
				access_log off; client_max_body_size 1k; lingering_close $lingering;
				client_body_temp_path body_temp; proxy_temp_path proxy_temp; fastcgi_temp_path fastcgi_temp;
				uwsgi_temp_path uwsgi_temp; scgi_temp_path scgi_temp;
				server { listen unix:$PWD/nginx-$lingering; }
			}
		END
		nginx -p "$PWD" -c nginx.conf >nginx.log 2>&1 3>&- &
		server=$!
		eventually test -S "nginx-$lingering"
		for lane in "${lanes[@]}"; do
			relay --lane $lane 127.0.0.1:0 "unix:nginx-$lingering"
			for _ in 1 2 3 4 5; do
				code=$(curl -s --max-time "$patience" -o page -w '%{http_code}' -H Expect: --data-binary @body "http://$here/")
				[ "$code" = 413 ]
				grep -q '</html>' page
			done
			stops 0
		done
		kill "$server"
		wait "$server"
	done
}
