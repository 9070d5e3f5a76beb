/**
 * What HTTP alone costs: the same echo as the benchmark lambda, by Bun itself and by plain Elysia, in
 * a process of its own. Argument: `bun` or `elysia`. Prints its port.
 */

import { Elysia } from "elysia";

const HEADERS = { "content-type": "application/json" };

/** Answers like a worker whose sandboxes cost nothing. */
async function echo(request: Request): Promise<Response> {
  if (request.method === "GET") return new Response("ready");
  return new Response(await request.arrayBuffer(), { headers: HEADERS });
}

/** Elysia set up as its documentation does for raw bodies. */
function elysiaServer(): (request: Request) => Response | Promise<Response> {
  const app = new Elysia({ aot: true })
    .get("/status", () => "ready")
    .post(
      "/runLambda/:name",
      async ({ request }) => new Response(await request.arrayBuffer(), { headers: HEADERS }),
      { parse: "none" },
    )
    .compile();
  return (request) => app.fetch(request);
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  maxRequestBodySize: 64 * 2 ** 20,
  fetch: process.argv[2] === "elysia" ? elysiaServer() : echo,
});
process.stdout.write(`${server.port}\n`);

// The suite closes our input when it is done; a killed suite does so too.
for await (const _ of Bun.stdin.stream());
await server.stop(true);
