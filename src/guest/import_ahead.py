"""Imports in a zygote, and what has to be done so that its children do not see a difference."""

import os
import sys

# Packages of which several distributions may have a part, as far as they are imported here. Only those of
# the old styles (`extend_path`, `declare_namespace`): they look at sys.path once, when they are imported.
_namespaces = []


def import_all(names):
    """Imports modules, but for those that need what is not there, unless that is all of them.

    Most names are guessed from lists of files: a part may be for people who have something else too. It
    fails in a sandbox as it does here, where nothing but what it imported itself is left of it.
    """
    missing = None
    imported = 0
    for name in names:
        try:
            __import__(name)
            imported += 1
        except ModuleNotFoundError as error:
            missing = error
    if missing is not None and imported == 0:
        raise missing


def know_namespaces(names):
    """Remembers those of the packages, which distributions may share, that look at sys.path no more."""
    _namespaces[:] = [name for name in names if type(_path_of(name)) is list]


def widen_namespaces(entries):
    """Shows the packages that were remembered in all entries of sys.path: some came after their import."""
    for name in _namespaces:
        path = _path_of(name)
        if type(path) is not list:
            continue
        for place in ["%s/%s" % (entry, name.replace(".", "/")) for entry in entries]:
            if place not in path and os.path.isdir(place):
                path.append(place)


def _path_of(name):
    return getattr(sys.modules.get(name), "__path__", None)
