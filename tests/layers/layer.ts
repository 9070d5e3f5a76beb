/** One layer of isolation, how to switch it off in the source, and the test that must notice. */

/** A test by the file that it is in and its whole name: the blocks around it and its title, joined by spaces. */
export interface NamedTest {
  readonly file: string;
  readonly name: string;
}

/** One replacement in a source file. */
export interface Edit {
  /** Path below the project. */
  readonly file: string;
  /** Must occur exactly once, so that the table cannot outlive what it is about. */
  readonly text: string;
  readonly instead: string;
}

/** A row of the tables. */
export interface Layer {
  readonly name: string;
  /** All of them together switch off this layer and nothing else. */
  readonly edits: readonly Edit[];
  readonly test: NamedTest;
  /** What the failing test prints: proof that it noticed this, and did not fail for another reason. */
  readonly says: string;
}

/**
 * @param file path below the project
 * @param text occurs there once
 * @param instead what stands there then
 * @returns one replacement
 */
export function edit(file: string, text: string, instead: string): Edit {
  return { file, text, instead };
}

/**
 * @param name of the layer
 * @param test that must notice
 * @param says part of what it prints then
 * @param edits that switch the layer off
 * @returns the row
 */
export function layer(name: string, test: NamedTest, says: string, ...edits: Edit[]): Layer {
  return { name, edits, test, says };
}

/**
 * @param text that of a source file
 * @param part what is looked for
 * @returns how often it occurs
 */
export function occurrences(text: string, part: string): number {
  return text.split(part).length - 1;
}

/**
 * @param layers rows
 * @returns each test that they name, once
 */
export function testsOf(layers: readonly Layer[]): NamedTest[] {
  const byName = new Map(layers.map(({ test }) => [`${test.file} ${test.name}`, test]));
  return [...byName.values()];
}

/**
 * @param tests of one file
 * @returns the pattern for `bun test -t` that matches them and no other
 */
export function patternOf(tests: readonly NamedTest[]): string {
  const escaped = tests.map(({ name }) => name.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return `^(${escaped.join("|")})$`;
}
