/** The guest's Python files as text inside the executable, and the program that starts them. */

import bootstrap from "./bootstrap.py" with { type: "text" };
import command from "./command.py" with { type: "text" };
import entry from "./entry.py" with { type: "text" };
import handler from "./handler.py" with { type: "text" };
import hotPages from "./hot_pages.py" with { type: "text" };
import importAhead from "./import_ahead.py" with { type: "text" };
import kernel from "./kernel.py" with { type: "text" };
import packing from "./packing.py" with { type: "text" };
import rehearsal from "./rehearsal.py" with { type: "text" };
import sandbox from "./sandbox.py" with { type: "text" };
import threadHook from "./thread_hook.py" with { type: "text" };
import wire from "./wire.py" with { type: "text" };
import zygote from "./zygote.py" with { type: "text" };

/** Every module of the guest by name. */
const GUEST_SOURCES: Readonly<Record<string, string>> = {
  command,
  entry,
  handler,
  hot_pages: hotPages,
  import_ahead: importAhead,
  kernel,
  packing,
  rehearsal,
  sandbox,
  thread_hook: threadHook,
  wire,
  zygote,
};

/** The descriptor from which a guest that init starts reads its sources. */
export const GUEST_SOURCES_FD = 4;

/** First statements of the root zygote: everything else comes through a descriptor. */
export const ZYGOTE_PROGRAM = `
import json, os
with os.fdopen(${GUEST_SOURCES_FD}, "rb") as _file:
    _start = json.load(_file)
exec(compile(_start["bootstrap"], "<openlambda>/bootstrap.py", "exec"))
import_standard(_start["sources"])
_finder = install(_start["sources"])
import packing as _packing
_packing.fill_holes()
import zygote as _zygote
finish(_finder)
_zygote.main(3, {name: bytes.fromhex(text) for name, text in _start["filters"].items()})
`;

/** Filter programs, 8 bytes per instruction; see `seccomp/table.ts` for the parts. */
export interface GuestFilters {
  /** Installed in a child that waits for its lambda. */
  readonly early: Uint8Array;
  /** Installed on top of it with the lambda. */
  readonly late: Uint8Array;
  /** Installed in an import-cache zygote before it imports. */
  readonly zygote: Uint8Array;
}

/**
 * @param filters the filter programs
 * @returns what `ZYGOTE_PROGRAM` reads, as JSON text
 */
export function zygoteStart(filters: GuestFilters): string {
  const hex = Object.fromEntries(
    Object.entries(filters).map(([name, program]) => [name, Buffer.from(program).toString("hex")]),
  );
  return JSON.stringify({ bootstrap, sources: GUEST_SOURCES, filters: hex });
}

/**
 * @param path unix socket inside the sandbox to which the guest connects
 * @returns a self-contained Python program for an engine that starts an interpreter itself
 */
export function connectingProgram(path: string): string {
  const sources = { handler, import_ahead: importAhead, wire };
  return [
    "import json",
    `_start = json.loads(${JSON.stringify(JSON.stringify({ bootstrap, sources }))})`,
    'exec(compile(_start["bootstrap"], "<openlambda>/bootstrap.py", "exec"))',
    '_finder = install(_start["sources"])',
    "import handler as _handler",
    "finish(_finder)",
    `_handler.main_connect(${JSON.stringify(path)})`,
    "",
  ].join("\n");
}
