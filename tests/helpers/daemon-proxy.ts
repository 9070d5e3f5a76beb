/** A socket in front of a daemon's, for requests that are to fail. */

/** A proxy that runs. */
export interface DaemonProxy {
  readonly socket: string;
  /** Answers in the daemon's place; null passes the request on. */
  intercept: (request: Request) => Response | Promise<Response> | null;
  stop(): Promise<void>;
}

/**
 * @param daemonSocket where the daemon listens
 * @param socket where the proxy is to listen
 * @returns it, passing everything on
 */
export function startDaemonProxy(daemonSocket: string, socket: string): DaemonProxy {
  const proxy: DaemonProxy = { socket, intercept: () => null, stop: () => server.stop(true) };
  const server = Bun.serve({
    unix: socket,
    development: false,
    fetch: async (request) => {
      const answer = proxy.intercept(request);
      if (answer !== null) return await answer;
      const { method, headers } = request;
      const { pathname, search } = new URL(request.url);
      const body = method === "POST" ? await request.arrayBuffer() : null;
      const init = { unix: daemonSocket, method, headers, body, signal: request.signal };
      return fetch(`http://localhost${pathname}${search}`, init);
    },
  });
  return proxy;
}

/** @returns the answer of a daemon that has a reason of its own */
export function refusal(): Response {
  return Response.json({ message: "refused" }, { status: 503 });
}
