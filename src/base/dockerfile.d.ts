/** A Dockerfile imported as text. */
declare module "*/Dockerfile" {
  const text: string;
  export default text;
}
