/** All experiments, in the order of a full run: cheap and telling ones first. */

import type { Experiment } from "../harness/experiment.ts";
import { cacheCombinations } from "./cache-combinations.ts";
import { coldRate } from "./cold-rate.ts";
import { coldStart } from "./cold-start.ts";
import { density } from "./density.ts";
import { dockerEngine } from "./docker-engine.ts";
import { importCache } from "./import-cache.ts";
import { install } from "./install.ts";
import { instruments } from "./instruments.ts";
import { leaks } from "./leaks.ts";
import { micro } from "./micro.ts";
import { startUp } from "./start-up.ts";
import { bodySize, codeSize } from "./sweeps.ts";
import { throughput } from "./throughput.ts";
import { zipfWorkload } from "./zipf-workload.ts";
import { zygoteSize } from "./zygote-size.ts";

/** Each is run by its name. */
export const EXPERIMENTS: readonly Experiment[] = [
  instruments,
  micro,
  coldStart,
  coldRate,
  throughput,
  startUp,
  importCache,
  zygoteSize,
  install,
  cacheCombinations,
  codeSize,
  bodySize,
  density,
  leaks,
  zipfWorkload,
  dockerEngine,
];
