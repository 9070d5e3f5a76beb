/**
 * What a sandbox is as a Docker container: the promises of DESIGN 4.4 in Docker's words. Pure, so
 * that a test can hold each line against the threat model.
 */

import type { ContainerCreateOptions, HostConfig, MountSettings } from "dockerode";
import { DOCKER_LABELS } from "../../base/docker-client.ts";
import type { BaseBind } from "../../base/base.ts";
import {
  DOCKER_CPU_PERIOD_US,
  DOCKER_FILES_MAX,
  DOCKER_INODES_PER_MIB,
  DOCKER_LOCKED_MAX_BYTES,
  DOCKER_PROCESSES_SPARE,
  DOCKER_SIGNALS_MAX,
} from "../../common/docker-limits.ts";
import { SANDBOX_OOM_SCORE } from "../../common/limits.ts";
import type { SandboxLimits } from "../contract.ts";
import { dockerSeccompProfile } from "./seccomp-profile.ts";

/** What every container of one pool has in common. */
export interface ContainerSettings {
  readonly image: string;
  /** Host directories that belong to the root file system, for a base that is not copied. */
  readonly baseBinds: readonly BaseBind[];
  /** OCI runtime, or null for the daemon's default. */
  readonly runtime: string | null;
  /** Identifies cluster and worker in labels. */
  readonly cluster: string;
  readonly worker: string;
  readonly slot: number;
}

/** What is special to one container. */
export interface ContainerSpec {
  /** Unique on this machine: it is known before Docker has answered, an id is not. */
  readonly name: string;
  readonly role: "sandbox" | "installer";
  /** Lambda name or another word for people. */
  readonly subject: string;
  /** Unprivileged user and group of everything inside. */
  readonly uid: number;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly HostMount[];
  readonly limits: SandboxLimits;
  readonly network: "host" | "none";
  /** Whether `/host` is a tmpfs of its own; else one of `mounts` serves it. */
  readonly scratch: boolean;
  /** Whether Docker keeps the last part of what it prints. */
  readonly keepOutput: boolean;
}

/** A file or directory of the host inside a container. */
export interface HostMount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

const MIB = 1024 * 1024;

const KEEP_OUTPUT = { Type: "json-file", Config: { "max-size": "8m", "max-file": "1" } };

/** Label with the worker's own directory, beside those of `DOCKER_LABELS`. */
export const WORKER_LABEL = "openlambda.worker";

/** Label with the worker's slot. */
export const SLOT_LABEL = "openlambda.slot";

/**
 * @param settings what all containers share
 * @param spec this one
 * @returns query and body of Docker's `POST /containers/create`, as dockerode wants them
 */
export function containerOptions(
  settings: ContainerSettings,
  spec: ContainerSpec,
): ContainerRequest {
  return { _query: { name: spec.name }, _body: bodyOf(settings, spec) };
}

/** Keeps the body out of the query, into which dockerode would write all of it a second time. */
export interface ContainerRequest extends ContainerCreateOptions {
  readonly _query: { readonly name: string };
  readonly _body: ContainerCreateOptions;
}

function bodyOf(settings: ContainerSettings, spec: ContainerSpec): ContainerCreateOptions {
  return {
    Image: settings.image,
    Entrypoint: [...spec.argv],
    Cmd: [],
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    User: `${spec.uid}:${spec.uid}`,
    WorkingDir: "/host",
    Hostname: "lambda",
    // A lambda has nothing to save; a daemon that stops must not wait for it.
    StopSignal: "SIGKILL",
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Labels: {
      [DOCKER_LABELS.cluster]: settings.cluster,
      [DOCKER_LABELS.role]: spec.role,
      [DOCKER_LABELS.lambda]: spec.subject,
      [WORKER_LABEL]: settings.worker,
      [SLOT_LABEL]: String(settings.slot),
    },
    HostConfig: hostConfig(settings, spec),
  };
}

type Ulimit = NonNullable<HostConfig["Ulimits"]>[number];

/** Docker's `HostConfig` as this module uses it; the types of dockerode lack one field. */
type HostOptions = HostConfig & { readonly CgroupnsMode: "private" };

function hostConfig(settings: ContainerSettings, spec: ContainerSpec): HostOptions {
  const { limits } = spec;
  const baseMounts = settings.baseBinds.map((it) => ({ ...it, readOnly: true }));
  return {
    CapDrop: ["ALL"],
    SecurityOpt: ["no-new-privileges:true", `seccomp=${seccompOf(spec.network)}`],
    ReadonlyRootfs: true,
    NetworkMode: spec.network,
    IpcMode: "private",
    CgroupnsMode: "private",
    Memory: limits.memoryMaxBytes,
    // Memory and swap together: no swap beside the memory.
    MemorySwap: limits.memoryMaxBytes,
    PidsLimit: limits.processesMax,
    CpuPeriod: DOCKER_CPU_PERIOD_US,
    CpuQuota: Math.round((limits.cpuPercent / 100) * DOCKER_CPU_PERIOD_US),
    OomScoreAdj: SANDBOX_OOM_SCORE,
    Ulimits: ulimits(limits),
    ShmSize: limits.scratchMaxBytes,
    Tmpfs: scratchMounts(spec),
    Mounts: [...baseMounts, ...spec.mounts].map(bindMount),
    // What a lambda prints goes into files of ours; Docker keeps nothing.
    LogConfig: spec.keepOutput ? KEEP_OUTPUT : { Type: "none", Config: {} },
    RestartPolicy: { Name: "no" },
    ...(settings.runtime === null ? {} : { Runtime: settings.runtime }),
  };
}

/** Of each process; what is not said here comes from the daemon, and differs from host to host. */
function ulimits(limits: SandboxLimits): Ulimit[] {
  const processes = limits.processesMax + DOCKER_PROCESSES_SPARE;
  return Object.entries({
    // 0 would not keep the kernel from handing a dump to a program of the host; see guest/sandbox.py.
    core: 1,
    nofile: DOCKER_FILES_MAX,
    fsize: limits.scratchMaxBytes,
    memlock: DOCKER_LOCKED_MAX_BYTES,
    msgqueue: 0,
    sigpending: DOCKER_SIGNALS_MAX,
    nproc: processes,
    nice: 0,
    rtprio: 0,
  }).map(([Name, bound]) => ({ Name, Soft: bound, Hard: bound }));
}

const seccompTexts = new Map<string, string>();

/** 12 kB of JSON, the same for each container. */
function seccompOf(network: "none" | "host"): string {
  const known = seccompTexts.get(network);
  if (known !== undefined) return known;
  const text = JSON.stringify(dockerSeccompProfile(network));
  seccompTexts.set(network, text);
  return text;
}

function scratchMounts({ limits, uid, scratch }: ContainerSpec): Record<string, string> {
  const inodes = Math.max(1024, Math.floor(limits.scratchMaxBytes / MIB) * DOCKER_INODES_PER_MIB);
  const options = [
    "rw,nosuid,nodev",
    `size=${limits.scratchMaxBytes}`,
    `nr_inodes=${inodes}`,
    `mode=700,uid=${uid},gid=${uid}`,
  ].join(",");
  return scratch ? { "/tmp": options, "/host": options } : { "/tmp": options };
}

function bindMount({ source, target, readOnly }: HostMount): MountSettings {
  return {
    Type: "bind",
    Source: source,
    Target: target,
    ReadOnly: readOnly,
    // A mount that is made or removed on the host later must not appear inside.
    BindOptions: { Propagation: "rprivate" },
  };
}
