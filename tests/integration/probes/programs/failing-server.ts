/**
 * Program whose server fails at every request, in the development mode that argv[2] says, and
 * which prints what a client gets to read. On its own, because the runtime reports each failure on
 * stderr.
 */

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  development: process.argv[2] === "on",
  fetch: () => {
    throw new Error("s3cret");
  },
});
const response = await fetch(server.url);
process.stdout.write(JSON.stringify({ status: response.status, text: await response.text() }));
await server.stop(true);
process.exit(0);
