"""Packs a binary as a Lambda layer: layer.py BINARY ZIP.

Lambda unpacks a layer under /opt and starts every executable file in /opt/extensions. Equal binaries give equal
archives: the time and the attributes are constants, nothing of the machine goes in. The deflate stream is that of the
machine's zlib, which is the same wherever the same zlib is installed.
"""

import hashlib
import os
import stat
import sys
import zipfile

# The name is the extension's name, and the Datadog libraries look for it.
MEMBER = "extensions/datadog-agent"
# The earliest time that an archive can carry.
TIME = (1980, 1, 1, 0, 0, 0)


def member(name, mode):
    info = zipfile.ZipInfo(name, TIME)
    info.create_system = 3  # Unix: the attributes below are a file mode
    info.external_attr = mode << 16 | (0x10 if stat.S_ISDIR(mode) else 0)
    info.compress_type = zipfile.ZIP_STORED if stat.S_ISDIR(mode) else zipfile.ZIP_DEFLATED
    return info


def main(binary, layer):
    with open(binary, "rb") as f:
        content = f.read()
    unfinished = layer + ".part"
    with zipfile.ZipFile(unfinished, "w") as archive:
        archive.writestr(member("extensions/", stat.S_IFDIR | 0o755), b"")
        archive.writestr(member(MEMBER, stat.S_IFREG | 0o755), content, compresslevel=9)
    os.replace(unfinished, layer)
    with open(layer, "rb") as f:
        packed = f.read()
    print(f"{layer}: {len(packed)} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1], sys.argv[2])
