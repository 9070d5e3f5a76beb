"""Runs inside an installer sandbox: asks pip to resolve or to install, one job per process.

The job is /run/install/job.json. Results lie below /host and are not trusted by the reader: a setup
script of a source distribution ran in the same sandbox. Nothing here needs to be secret or strong.

Modes
  probe    prints what the base's Python is, as JSON; needs no pip
  resolve  writes pip's report of what the requirements come down to, /host/report.json
  wheels   installs many wheels, each into /host/out/<index>; no third-party code runs
  source   builds and installs one source distribution into /host/out/0
"""

import glob
import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import urllib.parse

RUN = "/run/install"
WORK = "/host"
EXIT_NO_PIP = 90

# What replaces a pip that cannot write reports (before 23.0); runs on Python 3.8 and newer.
PIP_MIN = (23, 0)
PIP_PIN = "pip==25.0.1 --hash=sha256:c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f"


def probe():
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "tag": sys.implementation.cache_tag,
                "abi": sysconfig.get_config_var("SOABI") or "",
                "platform": sysconfig.get_platform(),
            }
        )
    )


def find_pip():
    """Makes `import pip` work, if need be from the wheel that the base keeps for virtual environments."""
    try:
        import pip

        return pip.__version__
    except ImportError:
        pass
    places = ["/usr/share/python-wheels"]
    try:
        import ensurepip

        places.insert(0, os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"))
    except ImportError:
        pass
    for place in places:
        for wheel in sorted(glob.glob(os.path.join(place, "pip-*.whl")), reverse=True):
            sys.path.insert(0, wheel)
            import pip

            return pip.__version__
    sys.exit(EXIT_NO_PIP)


def pip_main(arguments):
    """One pip command in this process: starting another Python for each would cost half a second."""
    from pip._internal.cli.main import main

    return main(arguments)


def renew_pip():
    """Replaces an old pip for this process by the pinned one, in a new interpreter."""
    requirement = os.path.join(WORK, "pip.txt")
    with open(requirement, "w") as file:
        file.write(PIP_PIN + "\n")
    wheels = os.path.join(WORK, "pip")
    code = pip_main(
        ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir"]
        + ["--dest", wheels, "--requirement", requirement]
    )
    if code != 0:
        sys.exit(code)
    wheel = glob.glob(os.path.join(wheels, "pip-*.whl"))[0]
    os.environ["OL_PIP_WHEEL"] = wheel
    os.execv(sys.executable, [sys.executable, "-I", os.path.abspath(__file__)])


KEPT_METADATA = ("name", "version", "requires_dist")


def trim_report(path):
    """Leaves what the worker reads, without the descriptions that make reports of megabytes, and adds the
    hash of a file of a local `find-links` directory, which pip 23.0 does not give."""
    with open(path) as stream:
        report = json.load(stream)
    for item in report["install"]:
        metadata = item["metadata"]
        item["metadata"] = {key: metadata[key] for key in KEPT_METADATA if key in metadata}
        download = item["download_info"]
        url = urllib.parse.urlsplit(download["url"])
        archive = download.get("archive_info")
        if url.scheme == "file" and archive is not None and not archive.get("hashes"):
            with open(urllib.parse.unquote(url.path), "rb") as file:
                archive["hashes"] = {"sha256": hashlib.sha256(file.read()).hexdigest()}
    with open(path, "w") as stream:
        json.dump(report, stream)


def resolve(job):
    report = os.path.join(WORK, "report.json")
    code = pip_main(
        ["install", "--dry-run", "--ignore-installed", "--no-cache-dir"]
        + ["--target", os.path.join(WORK, "none"), "--report", report]
        + ["--requirement", os.path.join(RUN, "requirements.txt")]
    )
    if code == 0:
        trim_report(report)
    return code


def wheels(job):
    from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename

    store = os.path.join(WORK, "wheels")
    code = pip_main(
        ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir"]
        + ["--dest", store, "--requirement", os.path.join(RUN, "requirements.txt")]
    )
    if code != 0:
        return code
    files = {}
    for file in os.listdir(store):
        files[canonicalize_name(parse_wheel_filename(file)[0])] = os.path.join(store, file)
    for index, name in enumerate(job["names"]):
        target = os.path.join(WORK, "out", str(index))
        code = pip_main(
            ["install", "--no-deps", "--no-index", "--no-cache-dir", "--compile", "--upgrade"]
            + ["--target", target, files[name]]
        )
        if code != 0:
            return code
        os.unlink(files[name])
    return 0


def source(job):
    return pip_main(
        ["install", "--no-deps", "--require-hashes", "--no-cache-dir", "--compile", "--upgrade"]
        + ["--target", os.path.join(WORK, "out", "0")]
        + ["--requirement", os.path.join(RUN, "requirements.txt")]
    )


def main():
    with open(os.path.join(RUN, "job.json")) as stream:
        job = json.load(stream)
    if job["mode"] == "probe":
        return probe()
    for directory in ("home", "tmp", "out"):
        os.makedirs(os.path.join(WORK, directory), exist_ok=True)
    if "OL_PIP_WHEEL" in os.environ:
        sys.path.insert(0, os.environ["OL_PIP_WHEEL"])
    elif tuple(int(part) for part in find_pip().split(".")[:2]) < PIP_MIN:
        renew_pip()
    status = {"resolve": resolve, "wheels": wheels, "source": source}[job["mode"]](job)
    for directory in ("tmp", "home", "wheels", "pip", "none"):
        shutil.rmtree(os.path.join(WORK, directory), ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
