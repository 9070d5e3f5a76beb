"""Writes a wheel that holds one module. Arguments: directory, module, version; source on stdin.

Prints the SHA-256 of the wheel: an index has to name it.
"""

import hashlib
import os
import sys
import zipfile


def main():
    """Writes the wheel."""
    directory, module, version = sys.argv[1:]
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": sys.stdin.read(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/top_level.txt": f"{module}\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = os.path.join(directory, f"{module}-{version}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)
    with open(path, "rb") as file:
        print(hashlib.sha256(file.read()).hexdigest())


main()
