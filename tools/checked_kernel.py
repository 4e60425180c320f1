# SPDX-License-Identifier: MIT
"""checked_kernel - a small kernel that looks for faults (KASAN, lockdep, kmemleak), built from Debian's source, for tools/test-kernels.

Nothing is installed, and nothing is built again while the package and the configuration stay as they are.
"""
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

CONFIG = "tests/kernels/checked.config"
PROGRAM = "kernel_checks"  # asks the checkers, behind all tests
SOURCE_PACKAGES = r"^linux-source-[0-9.]+$"
PATIENCE = 4  # how much slower everything may be in such a guest


def output_of(command, **kwargs):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs).stdout


def newest_package():
    """The package with the newest source that apt offers. LookupError: there is none."""
    names = [line.split(" - ")[0] for line in output_of(["apt-cache", "search", "--names-only", SOURCE_PACKAGES]).splitlines()]
    if not names:
        raise LookupError("apt offers no source of a kernel; has there been an apt-get update?")
    return max(names, key=lambda name: list(map(int, re.findall(r"\d+", name))))


def unpack_source(package, folder):
    """The folder of the source, and what tells it from others."""
    command = ["apt-get", "-q", "download", package]
    deb = folder / output_of([*command, "--print-uris"]).split()[1]
    source, mark = folder / "source", folder / "source.whole"
    if not mark.exists() or mark.read_text() != deb.name:
        mark.unlink(missing_ok=True)
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        output_of(command, cwd=folder)
        output_of(["bash", "-c", 'set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -xO "./usr/src/$1.tar.xz" | '
                                 'tar -xJ --strip-components=1 -C "$2"', deb, package, source])
        mark.write_text(deb.name)
    return source, deb.name


def missing_settings(wanted, found):
    """The lines of a configuration that make did not take over: what they need is not set."""
    lines = set(found.splitlines())
    return [line for line in wanted.splitlines() if line.startswith("CONFIG_") and line not in lines]


def build(config, folder):
    """Build the kernel: its image, and the folder that modules for it are built with. ValueError: the configuration does not hold.
    LookupError, OSError, or CalledProcessError with what the command said."""
    folder.mkdir(exist_ok=True)
    source, name = unpack_source(newest_package(), folder)
    output, mark = folder.resolve() / "build", folder / "build.whole"
    wanted = f"{name} {hashlib.sha256(config.read_bytes()).hexdigest()}"
    image = output / "arch/x86/boot/bzImage"
    if image.exists() and mark.exists() and mark.read_text() == wanted:
        return image, output
    mark.unlink(missing_ok=True)
    make = ["make", "-s", "-C", source, f"O={output}", f"-j{os.cpu_count()}"]
    output_of([*make, f"KCONFIG_ALLCONFIG={config}", "tinyconfig"])
    missing = missing_settings(config.read_text(), (output / ".config").read_text())
    if missing:
        raise ValueError(f"{config.name}: the kernel does not take over {', '.join(missing)}")
    output_of([*make, "bzImage", "modules"])  # without a module, "modules" makes the list of symbols
    mark.write_text(wanted)
    return image, output
