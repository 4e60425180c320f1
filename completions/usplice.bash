# SPDX-License-Identifier: MIT
# Completion of usplice(1) for bash. The options come from the command's own help, so they are always the right ones.

_usplice_options() {
	"$1" "$2" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+'
}

_usplice() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'copy cat relay help version' -- "$cur")
		return
	fi
	case $prev in
	help) mapfile -t COMPREPLY < <(compgen -W 'copy cat relay help version' -- "$cur") ;;
	--lane) mapfile -t COMPREPLY < <(compgen -W 'auto kernel user' -- "$cur") ;;
	--digest) mapfile -t COMPREPLY < <(compgen -W 'sha256 sha512 blake2b crc32c xxh64 xxh3 xxh128' -- "$cur") ;;
	--verify) mapfile -t COMPREPLY < <(compgen -W 'sha256: sha512: blake2b: crc32c: xxh64: xxh3: xxh128:' -- "$cur") ;;
	--compress) mapfile -t COMPREPLY < <(compgen -W 'zstd zstd: gzip gzip: lz4 lz4: xz xz:' -- "$cur") ;;
	--write-blocks)
		compopt -o filenames -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W 'sha256: sha512: blake2b: crc32c: xxh64: xxh3: xxh128:' -- "$cur" && compgen -f -- "$cur")
		;;
	--preserve) mapfile -t COMPREPLY < <(compgen -W 'mode owner times xattr acl all' -- "$cur") ;;
	--sparse) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$cur") ;;
	--on-slow) mapfile -t COMPREPLY < <(compgen -W 'block detach' -- "$cur") ;;
	--on-error) mapfile -t COMPREPLY < <(compgen -W 'stop continue' -- "$cur") ;;
	--balance) mapfile -t COMPREPLY < <(compgen -W 'roundrobin leastconn source' -- "$cur") ;;
	--log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning notice info' -- "$cur") ;;
	--access-log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$cur") ;;
	--proxy-protocol) mapfile -t COMPREPLY < <(compgen -W 'accept accept= send send-v1 send-v2' -- "$cur") ;;
	--skip | --count | --seek | --limit-rate | --limit-total | --workers | -w | --connections-max | -c | --backlog | \
		--keepalive-time | --keepalive-interval | --keepalive-probes | --user-timeout | \
		--connect-timeout | --retry-after | --idle-timeout | --exit-idle-time | --drain-timeout | --source | --mark | \
		--encrypt | --metrics | --metrics-host | --unix-mode | --allow | --deny | --connections-per-address | --accept-rate | --ipv6-prefix) COMPREPLY=() ;;
	--user | --unix-user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
	--group | --unix-group) mapfile -t COMPREPLY < <(compgen -g -- "$cur") ;;
	*)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_usplice_options "${COMP_WORDS[0]}" "${COMP_WORDS[1]}")" -- "$cur")
		else
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	esac
}

complete -F _usplice usplice
