/**
 * The one place that says which settings exist: key (upstream's spelling), type, range, default and
 * description. Validation (`parse.ts`), the TypeScript type of a file and the reference page
 * (`reference.ts`) all come from this schema.
 *
 * It loads Elysia's TypeBox, so modules that only need the `Config` type import `config.ts` instead,
 * and commands that read no configuration must not load this file.
 */

import { t } from "elysia/type-system";
import type { Static } from "elysia";

/** Custom keywords that every property of the schema may carry beside TypeBox's own. */
interface Notes {
  /** What the key means, for the reference page. */
  readonly description: string;
  /** What a valid value is, where bounds and type alone do not say it. */
  readonly allowed?: string;
  /** True where an error must not repeat the value. */
  readonly secret?: boolean;
}

const MIB_PER_TIB = 1024 * 1024;
const KIB_PER_TIB = 1024 * MIB_PER_TIB;

const whole = (minimum: number, maximum: number, byDefault: number, description: string) =>
  t.Optional(t.Number({ multipleOf: 1, minimum, maximum, default: byDefault, description }));

/** Like `whole`, for keys whose absence means that the value is worked out when it is read. */
const wholeNoDefault = (minimum: number, maximum: number, description: string) =>
  t.Optional(t.Number({ multipleOf: 1, minimum, maximum, description }));

const seconds = (byDefault: number, description: string) =>
  t.Optional(t.Number({ minimum: 0.1, maximum: 86_400, default: byDefault, description }));

const flag = (byDefault: boolean, description: string) =>
  t.Optional(t.Boolean({ default: byDefault, description }));

const text = (pattern: string, notes: Notes, byDefault?: string) =>
  t.Optional(
    t.String({ pattern, ...notes, ...(byDefault === undefined ? {} : { default: byDefault }) }),
  );

const absolutePath = (description: string) =>
  text("^/[^\\u0000]{0,4094}$", { description, allowed: "an absolute path" });

const limitsOf = (mem: number, procs: number, runtime: number, scratch: number) => ({
  mem_mb: whole(8, MIB_PER_TIB, mem, "Memory in MiB, swap excluded"),
  procs: whole(1, 4_194_304, procs, "Processes and threads"),
  cpu_percent: whole(1, 100_000, 100, "CPU time in percent of one CPU"),
  runtime_sec: seconds(runtime, "Seconds until it is killed"),
  scratch_mb: whole(1, MIB_PER_TIB, scratch, "Space in MiB for `/host` and `/tmp`"),
});

const group = <P extends Parameters<typeof t.Object>[0]>(properties: P, description: string) =>
  t.Optional(t.Object(properties, { additionalProperties: false, description }));

/** Every setting; all are optional here, `parse.ts` says which a worker cannot do without. */
export const CONFIG_SCHEMA = t.Object(
  {
    cluster_name: text(
      "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
      {
        description: "Marks what belongs to the cluster: cgroups, containers",
        allowed: 'letters, digits, ".", "_" and "-", at most 64 of them',
      },
      "openlambda",
    ),
    worker_port: wholeNoDefault(1, 65_535, "TCP port of the worker; set per worker by `workers`"),
    bind: text(
      "^(localhost|[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7})$",
      {
        description: "Address to listen on; `0.0.0.0` opens the worker to the network",
        allowed: 'an IP address or "localhost"',
      },
      "127.0.0.1",
    ),
    worker_dir: absolutePath("Directory of the worker's own files; set per worker by `workers`"),
    registry: t.Optional(
      t.Union([t.Literal("local"), t.Literal("remote")], {
        default: "local",
        description: "Where lambda code comes from: a directory, or an S3 endpoint",
      }),
    ),
    registry_dir: absolutePath("Directory of the `local` registry"),
    registry_server: text(
      "^$|^(https?://)?(\\[[0-9A-Fa-f:.]+\\]|[^\\s/@?#:]+)(:[0-9]{1,5})?(/[^\\s?#@]*)?$",
      {
        description:
          "S3 endpoint of the `remote` registry as URL or `host:port`, with `/bucket/prefix` where the bucket is not `registry`",
        allowed:
          'a URL such as "http://localhost:9000" or "https://s3.amazonaws.com/bucket", or "host:port"',
      },
      "",
    ),
    registry_access_key: text(
      "^[\\x21-\\x7e]{0,256}$",
      {
        description: "Access key of the `remote` registry",
        allowed: "at most 256 printable characters without spaces",
        secret: true,
      },
      "",
    ),
    registry_secret_key: text(
      "^[\\x21-\\x7e]{0,256}$",
      {
        description: "Secret key of the `remote` registry",
        allowed: "at most 256 printable characters without spaces",
        secret: true,
      },
      "",
    ),
    registry_cache_ms: whole(
      0,
      86_400_000,
      5_000,
      "Milliseconds for which a lambda's version is used without asking the registry again",
    ),
    sandbox: t.Optional(
      t.Union([t.Literal("sock"), t.Literal("docker")], {
        default: "sock",
        description: "Engine that isolates lambdas",
      }),
    ),
    sock_base_path: absolutePath("Root file system of all lambdas"),
    Pkgs_dir: absolutePath("Installed PyPI packages"),
    pip_mirror: text(
      "^$|^https?://[^\\s]+$",
      {
        description: "Package index to use instead of PyPI; empty: PyPI",
        allowed: 'a URL, or ""',
      },
      "",
    ),
    startup_pkgs: t.Optional(
      t.Array(
        t.String({
          pattern: "^[A-Za-z0-9][^\\u0000-\\u001f]{0,255}$",
          allowed: 'a requirement such as "numpy==1.26.4"',
        }),
        {
          default: [],
          maxItems: 256,
          uniqueItems: true,
          allowed: "at most 256 different requirements",
          description: "Packages that are installed and imported when the worker starts",
        },
      ),
    ),
    max_runners: whole(1, 1024, 1, "Concurrent calls per sandbox"),
    handler_cache_size: whole(
      0,
      KIB_PER_TIB,
      1_048_576,
      "KB of memory that idle lambdas may keep; 0 switches the handler cache off",
    ),
    import_cache_size: whole(
      0,
      KIB_PER_TIB,
      1_048_576,
      "KB of memory for pre-imported packages; 0 switches the import cache off",
    ),
    cg_pool_size: whole(0, 4096, 16, "Ready-made cgroups kept in stock"),
    mem_pool_mb: wholeNoDefault(
      16,
      MIB_PER_TIB,
      "MiB of memory that all sandboxes may use together; 80 % of what is free when absent",
    ),
    sandbox_config: t.Optional(
      t.Record(
        t.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]{0,127}$" }),
        t.Union([t.String({ pattern: "^[^\\u0000]{0,32768}$" }), t.Number(), t.Boolean()], {
          allowed: "a string, number or boolean",
          secret: true,
        }),
        {
          default: {},
          additionalProperties: false,
          allowed: "an object of environment variables",
          description: "Environment of every lambda",
        },
      ),
    ),
    limits: group(limitsOf(256, 64, 30, 512), "Bounds of each sandbox"),
    installer_limits: group(
      limitsOf(1024, 64, 300, 2048),
      "Bounds of each sandbox that installs packages",
    ),
    max_queue: whole(
      1,
      1_000_000,
      1_000,
      "Calls that may wait for code, packages or a sandbox; more are answered with 429, those of the lambda " +
        "with most calls waiting first",
    ),
    max_body_mb: whole(1, 1024, 16, "MiB of a request body; more is answered with 413"),
    network: t.Optional(
      t.Union([t.Literal("none"), t.Literal("host")], {
        default: "none",
        description: "Network of lambdas; `host` lets them reach everything this machine can",
      }),
    ),
    docker: group(
      {
        base_image: text(
          "^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$|^$",
          {
            description: "Image for sandboxes; empty: one is imported from the base",
            allowed: 'the name of an image, or ""',
          },
          "",
        ),
        runtime: text(
          "^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$|^$",
          {
            description: "OCI runtime such as `runsc`; empty: the daemon's default",
            allowed: 'the name of a runtime, or ""',
          },
          "",
        ),
        socket: text(
          "^/[^\\u0000]{0,106}$",
          {
            description: "Socket of the Docker daemon",
            allowed: "an absolute path of at most 107 characters",
          },
          "/var/run/docker.sock",
        ),
      },
      "The Docker engine",
    ),
    timing: flag(false, "Log the stages of each call"),
    benchmark_log: text(
      "^$|^/[^\\u0000]{0,4094}$",
      {
        description:
          "File that gets one JSON line per call, some 300,000 of them in it and two older parts; empty: none",
        allowed: 'an absolute path, or ""',
      },
      "",
    ),
  },
  { additionalProperties: false },
);

/** A configuration file as written: upstream's keys, every one optional. */
export type ConfigFile = Static<typeof CONFIG_SCHEMA>;
