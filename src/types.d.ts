/** Files that the compiler embeds as text, and what the build defines. */

declare module "*.py" {
  const text: string;
  export default text;
}
