/** Every layer of isolation that can be switched off by itself, and the test that must notice. */

import { DOCKER_LAYERS } from "./docker-layers.ts";
import { GUEST_LAYERS } from "./guest-layers.ts";
import type { Layer } from "./layer.ts";
import { SOCK_LAYERS } from "./sock-layers.ts";
import { ZYGOTE_LAYERS } from "./zygote-layers.ts";

/** All of them. */
export const LAYERS: readonly Layer[] = [
  ...SOCK_LAYERS,
  ...GUEST_LAYERS,
  ...ZYGOTE_LAYERS,
  ...DOCKER_LAYERS,
];
