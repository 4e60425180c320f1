# SPDX-License-Identifier: MIT
"""codec - decompress, compress and decrypt, against the programs of the formats."""
import hashlib
import os
import shutil
import struct
import subprocess
import zlib

from files import file_run, remove
from measure import Bar, Case, Contender

MIB = 1 << 20
NR_SINKS = 4
FRAME_BYTES = 4 * MIB  # plain bytes of a frame, where there are many
BGZF_BYTES = 65280     # plain bytes of a member of BGZF, as bgzip has it
FOLDERS = ("/usr/bin", "/usr/lib", "/usr/share")  # real files, of which about half is left


# --- Sources -------------------------------------------------------------------------------------

def real_files():
    for folder in FOLDERS:
        for where, names, files in os.walk(folder):
            names.sort()
            for name in sorted(files):
                path = os.path.join(where, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK):
                    yield path


def plain_source(bench, size):
    """The programs, libraries and documents of this machine one behind the other, again and again if they are few."""
    path = os.path.join(bench.tmpfs, f"plain-{size}")
    if os.path.exists(path):
        return path
    left = size
    with open(path, "wb") as plain:
        while left:
            for name in real_files():
                with open(name, "rb") as file:
                    piece = file.read(left)
                plain.write(piece)
                left -= len(piece)
                if not left:
                    break
    return path


def packed_source(bench, name, plain, pack):
    """The file that pack makes of a plain one, made once."""
    path = os.path.join(bench.tmpfs, f"{os.path.basename(plain)}.{name}")
    if not os.path.exists(path):
        with open(plain, "rb") as source, open(path, "wb") as sink:
            pack(source, sink)
    return path


def by(*command):
    return lambda source, sink: subprocess.run(command, stdin=source, stdout=sink, check=True)


def in_frames(*command):
    """One frame for each piece, one behind the other."""
    def pack(source, sink):
        while piece := source.read(FRAME_BYTES):
            sink.write(subprocess.run(command, input=piece, stdout=subprocess.PIPE, check=True).stdout)
    return pack


def bgzf_member(piece):
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = deflate.compress(piece) + deflate.flush()
    head = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(data) + 25)
    return head + data + struct.pack("<II", zlib.crc32(piece), len(piece))


def in_bgzf(source, sink):
    while piece := source.read(BGZF_BYTES):
        sink.write(bgzf_member(piece))
    sink.write(bgzf_member(b""))


# --- Cases ---------------------------------------------------------------------------------------

def codec_case(bench, name, commands, sinks, bars):
    """Commands by name, into new files."""
    contenders = [Contender(what, lambda command=command: file_run(command, sinks, True, stdin=subprocess.DEVNULL), bench.size)
                  for what, command in commands.items()]
    yield Case(name, contenders, bars)
    remove(sinks)


def redirect(command, sink):
    """Write to standard output: some programs do not write over a file."""
    return ["bash", "-c", 'exec "${@:2}" >"$1"', "bash", sink, *command]


def stream_case(bench, name, usplice, peers, ratio):
    """usplice, told all but its sink, and the programs that are here, from a file to a file."""
    sink = os.path.join(bench.tmpfs, "sink")
    commands = {"usplice": [bench.usplice, "copy", "-q", *usplice, sink]}
    commands |= {what: redirect(peer, sink) for what, peer in peers.items() if shutil.which(peer[0])}
    return codec_case(bench, name, commands, [sink], [Bar(["usplice"], list(peers), ratio)])


def decompress(peers, source):
    return {peer: [*peer.split(), "-c", source] for peer in peers}


def decompress_cases(bench, plain):
    formats = {
        "zstd": (by("zstd", "-q", "-3"), ["zstd -q -d"]),
        "gzip": (by("gzip", "-6"), ["igzip -d", "pigz -d", "gzip -d"]),
        "lz4": (by("lz4", "-q", "-BD"), ["lz4 -q -d"]),
        "xz": (by("xz", "-T0", "-1"), ["xz -T0 -d"]),
    }
    for name, (pack, peers) in formats.items():
        source = packed_source(bench, name, plain, pack)
        yield from stream_case(bench, f"decompress {name}, one stream", ["--decompress", source], decompress(peers, source), 0.97)


def independent_cases(bench, plain):
    """Frames or blocks that do not need each other, on all processors."""
    formats = {
        "zstd": (in_frames("zstd", "-q", "-3", "-c"), ["zstd -q -d"]),
        "gzip": (in_bgzf, ["igzip -d", "gzip -d"]),
        "lz4": (by("lz4", "-q", "-BI"), ["lz4 -q -d"]),
        "xz": (by("xz", "-T0", "-1", "--block-size=4MiB"), ["xz -T1 -d"]),
    }
    for name, (pack, peers) in formats.items():
        source = packed_source(bench, f"many.{name}", plain, pack)
        yield from stream_case(bench, f"decompress {name}, independent pieces", ["--decompress", source],
                               decompress(peers, source), 1.6)


def compress_cases(bench, plain):
    peers = {"zstd:3": "zstd -q -T0 -3", "gzip:6": "pigz -6", "xz:1": "xz -T0 -1", "lz4:1": "lz4 -q -1"}
    for spec, peer in peers.items():
        yield from stream_case(bench, f"compress {spec}", ["--compress", spec, plain], {peer: [*peer.split(), "-c", plain]}, 0.97)


def fan_out_cases(bench, plain):
    source = packed_source(bench, "zstd", plain, by("zstd", "-q", "-3"))
    sinks = [os.path.join(bench.tmpfs, f"sink-{index}") for index in range(NR_SINKS)]
    tee = f"zstd -q -dc {source} | tee {' '.join(sinks[1:])} >{sinks[0]}"
    tee_hash = f"zstd -q -dc {source} | tee {' '.join(sinks)} | sha256sum >/dev/null"
    usplice = [bench.usplice, "copy", "-q", "--decompress", source, *sinks]
    alone = {"the decoder alone": [bench.usplice, "copy", "-q", "--decompress", source, "null:"],
             "the writes alone": [bench.peer("fill_peer"), str(bench.size), *sinks]}
    commands = {"usplice": usplice, "zstd -dc | tee": ["bash", "-c", tee], **alone}
    yield from codec_case(bench, f"decompress zstd to {NR_SINKS} files", commands, sinks,
                          [Bar(["usplice"], ["zstd -dc | tee"], 1.3)])
    alone["SHA-256 alone"] = [bench.usplice, "copy", "-q", "--verify", f"sha256:{sha256(plain)}", plain, "null:"]
    commands = {"usplice --verify": usplice + ["--verify", f"sha256:{sha256(plain)}"],
                "zstd -dc | tee | sha256sum": ["bash", "-c", tee_hash], **alone}
    yield from codec_case(bench, f"decompress zstd to {NR_SINKS} files with SHA-256", commands, sinks,
                          [Bar(["usplice --verify"], ["zstd -dc | tee | sha256sum"], 3.5)])


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def age_cases(bench, plain):
    if not shutil.which("age"):
        return
    key = os.path.join(bench.tmpfs, "key")
    remove([key])
    subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
    recipient = subprocess.run(["age-keygen", "-y", key], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    source = packed_source(bench, "age", plain, by("age", "-r", recipient))
    yield from stream_case(bench, "decrypt age", ["--decrypt", key, source], {"age -d": ["age", "-d", "-i", key, source]}, 0.97)
    yield from stream_case(bench, "encrypt age", ["--encrypt", recipient, plain], {"age": ["age", "-r", recipient, plain]}, 0.97)


# Readers of one cold compressed source are among the cases of the page cache.
GROUPS = [decompress_cases, independent_cases, compress_cases, fan_out_cases, age_cases]


def codec_cases(bench):
    plain = plain_source(bench, bench.size)
    for group in GROUPS:
        yield from group(bench, plain)
