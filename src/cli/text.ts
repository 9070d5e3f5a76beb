/** Text that a lambda made, on its way to a person's terminal. */

/** Everything that a terminal might obey: C0 but tab and newline, DEL, C1. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/**
 * Lambdas are hostile: escape sequences in their output could rewrite the screen, set the clipboard or
 * fake a prompt.
 * @param text from a lambda
 * @param isTerminal whether it goes to one; pipes and files get it untouched
 * @returns text that a terminal only shows
 */
export function forTerminal(text: string, isTerminal: boolean): string {
  if (!isTerminal) return text;
  return text
    .replaceAll("\r\n", "\n")
    .replaceAll(CONTROL, (it) => `\\x${it.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
