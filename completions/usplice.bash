# SPDX-License-Identifier: MIT
# Completion of usplice(1) for bash. The options come from the command's own help, so they are always the right ones.

_usplice_options() {
	"$1" "$2" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+'
}

# _usplice_names COMMAND KIND [SUFFIX]: what can be used here.
_usplice_names() {
	"$1" list --names "$2" 2>/dev/null | sed "s/\$/${3-}/"
}

_usplice() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[0]}

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'copy relay probe explain list help version' -- "$cur")
		return
	fi
	case $prev in
	help) mapfile -t COMPREPLY < <(compgen -W 'copy relay probe explain list help version' -- "$cur") ;;
	--lane) mapfile -t COMPREPLY < <(compgen -W 'auto kernel user' -- "$cur") ;;
	--digest) mapfile -t COMPREPLY < <(compgen -W "$(_usplice_names "$command" digests)" -- "$cur") ;;
	--verify) mapfile -t COMPREPLY < <(compgen -W "$(_usplice_names "$command" digests :)" -- "$cur") ;;
	--compress) mapfile -t COMPREPLY < <(compgen -W "$(_usplice_names "$command" formats) $(_usplice_names "$command" formats :)" -- "$cur") ;;
	--write-blocks)
		compopt -o filenames -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_usplice_names "$command" digests :)" -- "$cur"; compgen -f -- "$cur")
		;;
	--on-slow) mapfile -t COMPREPLY < <(compgen -W 'block detach' -- "$cur") ;;
	--on-read-error) mapfile -t COMPREPLY < <(compgen -W 'stop zero zero: skip skip:' -- "$cur") ;;
	--on-error) mapfile -t COMPREPLY < <(compgen -W 'stop continue' -- "$cur") ;;
	--balance) mapfile -t COMPREPLY < <(compgen -W 'roundrobin leastconn source' -- "$cur") ;;
	--log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning notice info' -- "$cur") ;;
	--access-log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$cur") ;;
	--proxy-protocol) mapfile -t COMPREPLY < <(compgen -W 'accept accept= send send-v1 send-v2' -- "$cur") ;;
	--skip | --count | --seek | --size | --name | --format | --interval | --watch | --limit-rate | --limit-total | --workers | -w | --connections-max | -c | --backlog | \
		--keepalive-time | --keepalive-interval | --keepalive-probes | --user-timeout | \
		--connect-timeout | --retry-after | --idle-timeout | --exit-idle-time | --drain-timeout | --source | --mark | \
		--encrypt | --metrics | --metrics-host | --unix-mode | --allow | --deny | --connections-per-address | --accept-rate | --ipv6-prefix) COMPREPLY=() ;;
	--user | --unix-user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
	--group | --unix-group) mapfile -t COMPREPLY < <(compgen -g -- "$cur") ;;
	*)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_usplice_options "$command" "${COMP_WORDS[1]}")" -- "$cur")
		elif [ "${COMP_WORDS[1]}" = list ]; then
			mapfile -t COMPREPLY < <(compgen -W 'endpoints transforms formats digests lanes features' -- "$cur")
		else
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"; compgen -W "$(_usplice_names "$command" endpoints :)" -- "$cur")
		fi
		;;
	esac
}

complete -F _usplice usplice
