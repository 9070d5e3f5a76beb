"""First code of a guest: makes modules out of the sources that came along, and starts one.

Standard modules are imported here, once, so that every forked child has them already.
"""

import encodings.idna  # noqa: used by socket.connect on first use
import importlib.abc
import importlib.util
import marshal
import sys

_MARK = "<openlambda>/"
_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, sources):
        # All of them at once: what compiling leaves behind is gone before the first module is made.
        self._compiled = {
            name: marshal.dumps(compile(text, _MARK + name + ".py", "exec", dont_inherit=True))
            for name, text in sources.items()
        }

    def find_spec(self, name, path=None, target=None):
        if name not in self._compiled:
            return None
        return importlib.util.spec_from_loader(name, self, origin=_MARK + name + ".py")

    def exec_module(self, module):
        name = module.__spec__.name
        exec(marshal.loads(self._compiled[name]), module.__dict__)


def import_standard(sources):
    """Imports what the guest's modules import beside each other, before there is any of them."""
    for name, text in sources.items():
        for statement in compile(text, name, "exec", _ONLY_AST).body:
            if type(statement).__name__ == "Import":
                for alias in statement.names:
                    if alias.name not in sources:
                        __import__(alias.name)


def install(sources):
    """Makes `import NAME` find the guest's own modules while it starts."""
    finder = _Finder(sources)
    sys.meta_path.insert(0, finder)
    return finder


def finish(finder):
    """Takes the finder away: a lambda may have modules of the same names."""
    sys.meta_path.remove(finder)
    for name in finder._compiled:
        sys.modules.pop(name, None)
