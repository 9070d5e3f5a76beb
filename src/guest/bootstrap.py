"""First code of a guest: makes modules out of the sources that came along, and starts one.

Standard modules are imported here, once, so that every forked child has them already.
"""

import encodings.idna  # noqa: used by socket.connect on first use
import importlib.abc
import importlib.util
import sys

_MARK = "<openlambda>/"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, sources):
        self._sources = sources

    def find_spec(self, name, path=None, target=None):
        if name not in self._sources:
            return None
        return importlib.util.spec_from_loader(name, self, origin=_MARK + name + ".py")

    def exec_module(self, module):
        name = module.__spec__.name
        code = compile(self._sources[name], _MARK + name + ".py", "exec", dont_inherit=True)
        exec(code, module.__dict__)


def install(sources):
    """Makes `import NAME` find the guest's own modules while it starts."""
    finder = _Finder(sources)
    sys.meta_path.insert(0, finder)
    return finder


def finish(finder):
    """Takes the finder away: a lambda may have modules of the same names."""
    sys.meta_path.remove(finder)
    for name in finder._sources:
        sys.modules.pop(name, None)
