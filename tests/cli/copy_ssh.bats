#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Copies through ssh, as people make backups: an sshd of its own keys for each connection, without a port.

load support

# login: ssh_config leads to "there". The client starts an sshd, and speaks over its standard input and output. It takes only the
# key that is made here.
login() {
	PATH=$PATH:/usr/sbin
	for tool in ssh ssh-keygen sshd; do
		command -v "$tool" >/dev/null || skip "$tool is not here: openssh-server has it"
	done
	[ "$(id -u)" -ne 0 ] || { getent passwd sshd && mkdir -p -m 755 /run/sshd; } >/dev/null || skip "the sshd of root needs a user of that name"
	ssh-keygen -q -t ed25519 -N '' -f host_key
	ssh-keygen -q -t ed25519 -N '' -f user_key
	{ printf 'environment="USPLICE=%s" ' "$USPLICE"; cat user_key.pub; } >authorized_keys
	cat >sshd_config <<-END
		HostKey $PWD/host_key
		AuthorizedKeysFile $PWD/authorized_keys
		AuthenticationMethods publickey
		PermitRootLogin yes
		PermitUserEnvironment yes
		StrictModes no
		UsePAM no
	END
	cat >ssh_config <<-END
		Host there
		ProxyCommand $(command -v sshd) -i -e -f $PWD/sshd_config 2>>$PWD/sshd.log
		User $(id -un)
		IdentityFile $PWD/user_key
		IdentitiesOnly yes
		UserKnownHostsFile $PWD/known_hosts
		StrictHostKeyChecking no
		LogLevel ERROR
	END
	[ "$(there 'echo yes' 2>ssh.log)" = yes ] || skip "sshd takes no login here: $(tail -qn1 ssh.log sshd.log | tr '\n' ' ')"
}

# there COMMAND: it runs at the other end, in this directory.
there() {
	ssh -F ssh_config there "cd '$PWD' && $1"
}

@test "a file goes through ssh to another copy, and back" {
	login
	data a 3000000
	copy a "exec:ssh -F ssh_config there 'cd $PWD && \$USPLICE copy -q - b'"
	exits 0
	same a b
	copy "exec:ssh -F ssh_config there 'cat $PWD/b'" c
	exits 0
	same a c
	there 'cat a' | "$USPLICE" copy -q - d
	same a d
	"$USPLICE" copy -q a - | there '"$USPLICE" copy -q - e'
	same a e
}

@test "a command that fails at the other end is a copy that failed" {
	login
	data a 100000
	copy a "exec:ssh -F ssh_config there 'cat >/dev/null; exit 7'"
	exits 4
	says "7"
	copy "exec:ssh -F ssh_config there 'exit 7'" b
	exits 3
}

@test "frames through ssh: a whole stream is taken, and a connection that is cut is noticed" {
	login
	data a 3000000
	"$USPLICE" copy -q --frame a - | there '"$USPLICE" copy -q --unframe --atomic - b'
	same a b
	hold
	"$USPLICE" copy -q --frame held - 2>/dev/null 3>&- |
		ssh -F ssh_config there "cd '$PWD' && { \"\$USPLICE\" copy -q --unframe - part 2>errors; echo \$? >code; }" 2>/dev/null 3>&- 9>&- &
	connection=$!
	feed 2000000
	eventually has_bytes part 4096
	kill -9 "$connection"
	eventually has_bytes code 2
	[ "$(cat code)" -eq 3 ]
	grep -q "the stream was cut" errors
}

@test "a large buffer in front of ssh takes a stream of archives" {
	login
	mkdir tree
	for i in $(seq 200); do data "tree/$i" $((i * 700)); done
	tar -cf expected tree
	tar -cf - tree | "$USPLICE" copy -q --buffer 16M,start=50% - - | there '"$USPLICE" copy -q --buffer 16M - got'
	cmp expected got
	tar -cf - tree | "$USPLICE" copy -q --buffer 64k --buffer-file .,size=64M --frame - - |
		there '"$USPLICE" copy -q --unframe --buffer 64k - - | tar -xf - --one-top-level=out'
	diff -r tree out/tree
}
