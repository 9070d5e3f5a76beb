/** Proxies of the environment are for what lies beyond this machine: they do not reach its own clusters. */

const PROXIES = ["http_proxy", "https_proxy", "all_proxy"];
const LOOPBACK = ["localhost", "127.0.0.1", "::1"];

/**
 * Makes `fetch` reach the workers and the store of this machine directly; it looks at the environment
 * with each request.
 * @param env environment that is changed, where it names a proxy at all
 */
export function keepLoopbackFromProxies(env: Record<string, string | undefined>): void {
  const isSet = (name: string): boolean => (env[name] ?? "") !== "";
  if (!PROXIES.some((name) => isSet(name) || isSet(name.toUpperCase()))) return;
  const hosts = new Set(
    [env["NO_PROXY"], env["no_proxy"]]
      .flatMap((list) => (list ?? "").split(","))
      .map((host) => host.trim())
      .filter((host) => host !== ""),
  );
  // Everything is direct already, and some readers know the star only alone.
  if (hosts.has("*")) return;
  for (const host of LOOPBACK) hosts.add(host);
  env["NO_PROXY"] = [...hosts].join(",");
  env["no_proxy"] = env["NO_PROXY"];
}
