"""Packs a binary as a Lambda layer: layer.py BINARY ZIP.

Lambda unpacks a layer under /opt and starts every executable file in /opt/extensions. Equal binaries give equal
archives: the time and the attributes are constants, nothing of the machine goes in, and the deflate stream is that of
a pinned zopfli, 3 % smaller than zlib's best.
"""

import hashlib
import os
import stat
import struct
import sys
import zlib

import zopfli.zopfli

# The name is the extension's name, and the Datadog libraries look for it.
MEMBER = "extensions/datadog-agent"
# 1 January 1980, 0:00, in the words of MS-DOS: the earliest time that an archive can carry.
TIME, DATE = 0, 1 << 5 | 1
# Version 2.0 of the format; 3 is Unix: the external attributes hold a file mode.
NEEDED, MADE_BY = 20, 3 << 8 | 20
STORED, DEFLATED = 0, 8


def deflated(content):
    # As many blocks as pay off: 0.5 % less than with the default limit. More iterations gain nothing.
    wrapped = zopfli.zopfli.compress(content, numiterations=15, blocksplittingmax=0)
    # Without the header and the checksum of the zlib format.
    raw = wrapped[2:-4]
    if zlib.decompress(raw, wbits=-zlib.MAX_WBITS) != content:
        sys.exit("zopfli's stream does not give back what went in")
    return raw


def archive(members):
    """The bytes of an archive of (name, mode, content)."""
    files, directory = b"", b""
    for name, mode, content in members:
        method, packed = (STORED, b"") if stat.S_ISDIR(mode) else (DEFLATED, deflated(content))
        name = name.encode()
        # What the local header and the directory have in common.
        common = struct.pack(
            "<5H3L2H", NEEDED, 0, method, TIME, DATE, zlib.crc32(content), len(packed), len(content), len(name), 0
        )
        attributes = mode << 16 | (0x10 if stat.S_ISDIR(mode) else 0)
        directory += b"PK\1\2" + struct.pack("<H", MADE_BY) + common
        directory += struct.pack("<3H2L", 0, 0, 0, attributes, len(files)) + name
        files += b"PK\3\4" + common + name + packed
    end = struct.pack("<4H2LH", 0, 0, len(members), len(members), len(directory), len(files), 0)
    return files + directory + b"PK\5\6" + end


def main(binary, layer):
    with open(binary, "rb") as f:
        content = f.read()
    packed = archive([("extensions/", stat.S_IFDIR | 0o755, b""), (MEMBER, stat.S_IFREG | 0o755, content)])
    unfinished = layer + ".part"
    with open(unfinished, "wb") as f:
        f.write(packed)
    os.replace(unfinished, layer)
    print(f"{layer}: {len(packed)} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1], sys.argv[2])
