/**
 * The Docker engine (DESIGN 6): each instance is a container of its own, with the same guest and the
 * same protocol as in the SOCK engine. Where SOCK forks, this engine starts an interpreter, so it is
 * for users who want Docker's tools or another OCI runtime around their lambdas, not for speed.
 */

import { randomBytes } from "node:crypto";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type Docker from "dockerode";
import { connectDocker } from "../../base/docker-client.ts";
import { dockerError, dockerStatus } from "../../base/docker-error.ts";
import { OlError } from "../../common/errors.ts";
import {
  DOCKER_CONNECT_TIMEOUT_MS,
  DOCKER_CREATES_PARALLEL_MAX,
} from "../../common/docker-limits.ts";
import { OUTPUT_MAX_BYTES, OUTPUT_WATCH_INTERVAL_MS } from "../../common/limits.ts";
import type { GuestConnection, GuestEvents } from "../../guest/guest-connection.ts";
import { connectingProgram } from "../../guest/sources.ts";
import { FrameType, encodeAssign, encodeFrame } from "../../guest/wire.ts";
import type { Sandbox, SandboxPool, SandboxSpec } from "../contract.ts";
import { type InstanceLogs, InstanceLogStore } from "../instance-logs.ts";
import { runCommand } from "./command-runner.ts";
import type { SandboxCommand, SandboxCommandResult } from "../command.ts";
import { type ContainerSettings, containerOptions } from "./container-options.ts";
import { removeWorkerContainers } from "./containers.ts";
import { FirstProcess } from "./first-process.ts";
import { Gate } from "./gate.ts";
import { GuestListener } from "./guest-listener.ts";
import { ensureSandboxImage } from "./image.ts";
import { Litter } from "./litter.ts";
import { DockerSandbox, outputIsOver } from "./sandbox.ts";
import { removeSocketDir, socketDirOf } from "./socket-dir.ts";
import { UidRange } from "./uids.ts";

/** What the engine needs to know. */
export interface DockerPoolOptions {
  /** The daemon's unix socket. */
  readonly socket: string;
  /** Value of the cluster label; see `listClusterContainers`. */
  readonly cluster: string;
  /** Absolute `<cluster>/workers/worker-<N>`; also the value of the worker label. */
  readonly workerDir: string;
  /** Which no other living worker has; its user ids follow from it. */
  readonly slot: number;
  /** The cluster's base dir. */
  readonly basePath: string;
  readonly packagesDir: string;
  /** Image for sandboxes, or null for one that is imported from the base. */
  readonly baseImage: string | null;
  /** OCI runtime, or null for the daemon's default. */
  readonly runtime: string | null;
  /** `import_cache_size`: must be 0, containers cannot be forked. */
  readonly importCacheBytes: number;
  /** For tests: how long the daemon may take for a request; default `DOCKER_REQUEST_TIMEOUT_MS`. */
  readonly requestTimeoutMs?: number;
}

/** Where the guest finds the worker's socket. */
const GUEST_SOCKET = "/run/openlambda.sock";

/** What comes before the guest: its output goes to the files that the worker provides. */
const OPEN_OUTPUT = `
import os as _os
for _fd, _name in ((1, "/host/stdout"), (2, "/host/stderr")):
    _file = _os.open(_name, _os.O_WRONLY | _os.O_APPEND)
    _os.dup2(_file, _fd)
    _os.close(_file)
`;

const PROGRAM = OPEN_OUTPUT + connectingProgram(GUEST_SOCKET);

/** Environment of the interpreter; the lambda's own comes with ASSIGN. */
const GUEST_ENV = { LC_ALL: "C.UTF-8", PYTHONDONTWRITEBYTECODE: "1" };

/** Creates containers. */
export class DockerPool implements SandboxPool {
  readonly #docker: Docker;
  readonly #options: DockerPoolOptions;
  readonly #settings: ContainerSettings;
  readonly #python: string;
  readonly #socketDir: string;
  readonly #logs: InstanceLogStore;
  readonly #uids: UidRange;
  readonly #gate = new Gate(DOCKER_CREATES_PARALLEL_MAX);
  readonly #sandboxes = new Set<DockerSandbox>();
  readonly #litter: Litter;
  readonly #watchdog: ReturnType<typeof setInterval>;
  #closed = false;

  private constructor(
    docker: Docker,
    options: DockerPoolOptions,
    settings: ContainerSettings,
    python: string,
  ) {
    this.#docker = docker;
    this.#options = options;
    this.#settings = settings;
    this.#python = python;
    this.#socketDir = socketDirOf(options.workerDir);
    this.#logs = new InstanceLogStore(options.workerDir, () => {});
    this.#uids = new UidRange(options.slot);
    this.#litter = new Litter(docker, options.socket);
    this.#watchdog = setInterval(() => this.#watchOutput(), OUTPUT_WATCH_INTERVAL_MS);
    this.#watchdog.unref();
  }

  /**
   * Connects, removes what dead workers of the same directory or slot left, and makes sure of the image.
   * @throws {OlError} config_invalid, docker_unavailable, engine_unavailable, base_invalid
   */
  static async open(options: DockerPoolOptions): Promise<DockerPool> {
    if (options.importCacheBytes > 0) {
      throw new OlError(
        "config_invalid",
        `Cannot use import_cache_size ${options.importCacheBytes / 1024} with "sandbox": "docker": ` +
          'containers cannot be forked, wanted 0 (or "sandbox": "sock")',
        { op: "docker.open" },
      );
    }
    const docker = await connectDocker(options.socket, options.requestTimeoutMs);
    await removeWorkerContainers(docker, options.socket, options);
    const { image, binds, python } = await ensureSandboxImage(
      docker,
      options.socket,
      options.baseImage,
      options.basePath,
    );
    const socketDir = socketDirOf(options.workerDir);
    removeSocketDir(options.workerDir);
    mkdirSync(socketDir, { mode: 0o700 });
    const settings: ContainerSettings = {
      image,
      baseBinds: binds,
      runtime: options.runtime,
      cluster: options.cluster,
      worker: options.workerDir,
      slot: options.slot,
    };
    return new DockerPool(docker, options, settings, python);
  }

  /** The interpreter inside: a path, or a name where the image is not ours. */
  get python(): string {
    return this.#python;
  }

  get live(): number {
    return this.#sandboxes.size;
  }

  create(spec: SandboxSpec): Promise<Sandbox> {
    return this.#gate.run(async () => {
      if (this.#closed) throw new OlError("engine_unavailable", "The sandbox engine is closed");
      return this.#create(spec);
    });
  }

  /**
   * Runs a program in a container of its own, with the host's network; a `CommandRunner`.
   * @throws {OlError} docker_unavailable, engine_unavailable, pool_exhausted
   */
  async run(spec: SandboxCommand): Promise<SandboxCommandResult> {
    if (this.#closed) throw new OlError("engine_unavailable", "The sandbox engine is closed");
    const uid = this.#uids.take();
    return await runCommand(spec, {
      docker: this.#docker,
      socket: this.#options.socket,
      settings: this.#settings,
      uid,
      parentDir: this.#socketDir,
      litter: this.#litter,
      release: () => this.#uids.give(uid),
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watchdog);
    await Promise.all([...this.#sandboxes].map((it) => it.destroy()));
    await this.#litter.close();
    this.#logs.shut();
    removeSocketDir(this.#options.workerDir);
  }

  async #create(spec: SandboxSpec): Promise<Sandbox> {
    const id = Bun.randomUUIDv7();
    const name = `ol-${spec.lambdaName}-${id}`;
    const uid = this.#uids.take();
    const first = new FirstProcess(uid);
    let sandbox: DockerSandbox | null = null;
    let early: OlError | null | undefined;
    let logs: InstanceLogs | null = null;
    let listener: GuestListener | null = null;
    let exists: boolean | null = null;
    const release = (): void => {
      if (logs !== null) this.#logs.close(logs, OUTPUT_MAX_BYTES);
      this.#uids.give(uid);
    };
    const cleanUp = async (): Promise<void> => {
      listener?.close();
      if (exists === null) release();
      else await this.#litter.remove({ name, first, exists, release });
      if (sandbox !== null) this.#sandboxes.delete(sandbox);
    };
    try {
      logs = this.#openLogs(spec, id, uid);
      listener = this.#listen(uid, {
        onReady: (ready) => sandbox?.onReady(ready),
        onEnd: (error) => {
          if (sandbox === null) early = error;
          else sandbox.onEnd(error);
        },
      });
      // From here on Docker may have it, whether it says so or not.
      exists = false;
      const container = await this.#createContainer(spec, name, uid, logs, listener.path);
      exists = true;
      const connection = await this.#start(container, listener);
      own(logs, 0);
      connection.send(encodeFrame(FrameType.ASSIGN, 0, assignOf(spec)));
      sandbox = new DockerSandbox({
        id,
        container,
        first,
        daemonSocket: this.#options.socket,
        connection,
        logs,
        limits: spec.limits,
        cleanUp,
      });
      this.#adopt(sandbox, container);
      if (early !== undefined) sandbox.onEnd(early);
      return sandbox;
    } catch (cause) {
      await cleanUp();
      throw this.#asCreateError(cause);
    }
  }

  /** Output files that the guest opens before it connects; the lambda only ever has the open ones. */
  #openLogs(spec: SandboxSpec, id: string, uid: number): InstanceLogs {
    const logs = this.#logs.open(spec.lambdaName, id);
    try {
      own(logs, uid);
      return logs;
    } catch (error) {
      this.#logs.close(logs, OUTPUT_MAX_BYTES);
      throw error;
    }
  }

  #listen(uid: number, events: GuestEvents): GuestListener {
    const path = join(this.#socketDir, `${randomBytes(9).toString("hex")}.sock`);
    return new GuestListener(path, uid, events);
  }

  async #createContainer(
    spec: SandboxSpec,
    containerName: string,
    uid: number,
    logs: InstanceLogs,
    guestSocket: string,
  ): Promise<Docker.Container> {
    const writable = (name: string) => ({
      source: join(logs.dir, name),
      target: `/host/${name}`,
      readOnly: false,
    });
    return this.#docker.createContainer(
      containerOptions(this.#settings, {
        name: containerName,
        role: "sandbox",
        subject: spec.lambdaName,
        uid,
        argv: [this.#python, "-I", "-S", "-B", "-c", PROGRAM],
        env: GUEST_ENV,
        mounts: [
          readOnly(spec.codeDir, "/handler"),
          readOnly(this.#options.packagesDir, "/packages"),
          readOnly(guestSocket, GUEST_SOCKET),
          writable("stdout"),
          writable("stderr"),
        ],
        limits: spec.limits,
        network: spec.network,
        scratch: true,
        keepOutput: false,
      }),
    );
  }

  /** Starts it and waits until its guest is there, it ends, or it takes too long. */
  async #start(container: Docker.Container, listener: GuestListener): Promise<GuestConnection> {
    await container.start();
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), DOCKER_CONNECT_TIMEOUT_MS);
    const ended = container.wait({ abortSignal: abort.signal }).then(
      async (answer: unknown) => {
        const status = (answer as { StatusCode?: unknown }).StatusCode;
        throw createError(
          `its interpreter ended with status ${String(status)} before it was ready`,
        );
      },
      (cause: unknown) => {
        throw abort.signal.aborted
          ? createError(`its guest did not connect within ${DOCKER_CONNECT_TIMEOUT_MS} ms`)
          : cause;
      },
    );
    try {
      return await Promise.race([listener.connected, ended]);
    } finally {
      clearTimeout(timer);
      ended.catch(() => undefined);
      abort.abort();
    }
  }

  /** Counts it as living and learns its process id, which no call needs. */
  #adopt(sandbox: DockerSandbox, container: Docker.Container): void {
    this.#sandboxes.add(sandbox);
    void container.inspect().then(
      ({ State }) => sandbox.noteFirst(State.Pid),
      () => undefined,
    );
  }

  #watchOutput(): void {
    for (const sandbox of this.#sandboxes) {
      if (!outputIsOver(sandbox)) continue;
      const words = `The lambda wrote more than ${OUTPUT_MAX_BYTES} bytes of output and was ended`;
      void sandbox.end(new OlError("sandbox_output_limit", words));
    }
  }

  #asCreateError(cause: unknown): OlError {
    const status = dockerStatus(cause);
    if (status !== undefined && status < 500) {
      const words = cause instanceof Error ? cause.message : String(cause);
      return createError(`Docker says ${words}`, cause);
    }
    return dockerError(cause, this.#options.socket, "create a container");
  }
}

/**
 * Gives the output files to a user. While the lambda runs that is root: their owner could open them again
 * without the bounds of the open ones, change their rights, and put attributes on them.
 */
function own(logs: InstanceLogs, uid: number): void {
  for (const name of ["stdout", "stderr"]) chownSync(join(logs.dir, name), uid, uid);
}

const readOnly = (source: string, target: string) => ({ source, target, readOnly: true });

function assignOf(spec: SandboxSpec): Uint8Array {
  const config = {
    env: spec.env,
    packages: spec.packages.map((it) => `/packages/${it.dir}`),
    outputMaxBytes: OUTPUT_MAX_BYTES,
    concurrency: spec.concurrency,
  };
  return encodeAssign(config, new Uint8Array(0));
}

function createError(state: string, cause?: unknown): OlError {
  return new OlError("sandbox_create", `Cannot create a container for the lambda: ${state}`, {
    op: "docker.create",
    ...(cause === undefined ? {} : { cause }),
  });
}
