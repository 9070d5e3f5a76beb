/** A socket in front of a daemon's, for requests that are to fail. */

/** A proxy that runs. */
export interface DaemonProxy {
  readonly socket: string;
  /** Which requests are answered with 503 instead of being passed on. */
  refuse: (request: Request) => boolean;
  stop(): Promise<void>;
}

/**
 * @param daemonSocket where the daemon listens
 * @param socket where the proxy is to listen
 * @returns it, passing everything on
 */
export function startDaemonProxy(daemonSocket: string, socket: string): DaemonProxy {
  const proxy: DaemonProxy = { socket, refuse: () => false, stop: () => server.stop(true) };
  const server = Bun.serve({
    unix: socket,
    development: false,
    fetch: async (request) => {
      if (proxy.refuse(request)) return Response.json({ message: "refused" }, { status: 503 });
      const { method, headers } = request;
      const { pathname, search } = new URL(request.url);
      const body = method === "POST" ? await request.arrayBuffer() : null;
      const init = { unix: daemonSocket, method, headers, body, signal: request.signal };
      return fetch(`http://docker${pathname}${search}`, init);
    },
  });
  return proxy;
}
