# SPDX-License-Identifier: MIT
"""ring_guest - kmod/ built for the kernel of a guest, and the guest that tests it, for tools/test-kernels."""
import os
import re
import shutil
import subprocess
from pathlib import Path

PROGRAMS = ["test_ring", "test_ring_mapped", "test_ring_take", "test_ring_endpoint", "test_ring_figures", "test_vsock",
            "mount_ways", "test_ring_module"]  # the last one looks for faults
FIGURES = "test_ring_figures"
OPENED = ("libcrypto.so.3", "libfuse3.so.3", "libisal.so.2", "libz.so.1")  # by the command, while it runs
DRIVERS = ("loop", "vsock", "vmw_vsock_virtio_transport_common", "vsock_loopback", "fuse")  # in this order, where they are no part of the kernel
PROGRAM_SECONDS = 240
MODULE = "usplice.ko"

# A warning of the kernel is a panic here. "@" as in the other guests. It ends by a reset, which needs no ACPI.
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin CMOCKA_MESSAGE_OUTPUT=TAP RING_MODULE=/drivers/usplice.ko USPLICE=/programs/usplice
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs devtmpfs /dev && mkdir -p /tmp /var/tmp &&
	mount -t tmpfs tmpfs /tmp && ip link set lo up && echo "@release $(uname -r)" &&
	for driver in %s; do [ ! -e /drivers/$driver.ko ] || insmod /drivers/$driver.ko; done && truncate -s 64M /disk &&
	mke2fs -b 4096 -F /disk >/dev/null && { grep -q ext4 /proc/filesystems && fs=ext4 || fs=ext2; } &&
	mount -o loop -t $fs /disk /var/tmp && insmod $RING_MODULE && dmesg -n 1 &&
	for name in %s; do
		echo "@begin $name"
		timeout -s KILL %d /programs/$name 2>&1 </dev/null
		echo "@end $name $?"
	done && echo "@done"
reboot -f
"""


def output_of(command, **kwargs):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs).stdout


def header_packages(deb):
    """The packages that a module for the kernel in this .deb is built with, the one of its own configuration first. LookupError: apt
    has none."""
    name = output_of(["dpkg-deb", "-f", deb, "Package"]).strip()
    headers = name.replace("linux-image-", "linux-headers-", 1).removesuffix("-unsigned")
    try:
        record = output_of(["apt-cache", "show", "--no-all-versions", headers])
    except subprocess.CalledProcessError as error:
        raise LookupError(f"apt has no headers for {deb.name}") from error
    return [headers, *re.findall(r"\b(linux-(?:headers|kbuild)-[^\s,(]+)", re.search(r"^Depends: .*", record, re.M).group())]


def unpack_headers(deb, folder):
    """The folder of the kernel's headers. Nothing is installed: the packages are unpacked, once, below the folder."""
    own, *others = header_packages(deb)
    top = (folder / own).resolve()
    headers = top / "usr/src" / own
    if not (top / "whole").exists():
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        for name in [own, *others]:
            command = ["apt-get", "-q", "download", name]
            package = output_of([*command, "--print-uris"]).split()[1]
            output_of(command, cwd=folder)
            output_of(["dpkg-deb", "-x", folder / package, top])
        makefile = headers / "Makefile"  # includes that of the common headers where they would be installed
        makefile.write_text(makefile.read_text().replace("/usr/src/", f"{top}/usr/src/"))
        (top / "whole").touch()
    return headers


def build_module(source, headers, work):
    """usplice.ko for the kernel with these headers, as bytes, built in the folder work. OSError, or CalledProcessError with what the
    command said."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    # BTF would need pahole and the kernel as an ELF file. Warnings are errors here.
    output_of(["make", "-C", work, f"-j{os.cpu_count()}", f"KDIR={headers}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "KCFLAGS=-Werror"])
    return (work / MODULE).read_bytes()


def init(programs, seconds):
    """The guest's first program: it gives each of the programs so many seconds."""
    return (INIT % (" ".join(DRIVERS), " ".join(programs), seconds)).encode()


def opened_libraries():
    """The libraries that the command opens only if it needs them, as far as they are here."""
    known = dict(re.findall(r"^\s*(\S+) .*x86-64.*=> (\S+)", output_of(["/sbin/ldconfig", "-p"]), re.M))
    return [Path(known[name]) for name in OPENED if name in known]


def figures(output):
    """What the programs measured, as rows of the table: lines "# figure NAME: VALUE"."""
    return dict(re.findall(r"^# figure (.+): (.+)$", output, re.M))
