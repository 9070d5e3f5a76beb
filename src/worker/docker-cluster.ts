/** The containers of a cluster, for commands: they need no worker to list and remove them. */

export { listClusterContainers, removeClusterContainers } from "../sandbox/docker/containers.ts";
