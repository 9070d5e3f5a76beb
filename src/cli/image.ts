/** `ol image build`: makes the image that lambdas run in, for both engines. */

import { defineCommand } from "citty";
import { readBaseManifest } from "../base/base.ts";
import { connectDocker, defaultDockerSocket } from "../base/docker-client.ts";
import { buildImage, importBase } from "../base/docker-image.ts";
import dockerfile from "../../quickstart/Dockerfile" with { type: "text" };
import { usageError } from "./args.ts";
import { findDockerCluster } from "./docker-cluster.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { openNotes, print, printJson } from "./output.ts";

/** What Docker takes for a name with an optional tag. */
const IMAGE_NAME = /^[a-z0-9][a-z0-9._/:-]{0,200}$/;

export default defineCommand({
  meta: {
    description:
      "Builds the base image for lambdas from a Dockerfile (default: quickstart/Dockerfile), or,\n" +
      "where no registry can be reached, from the base/ of a cluster (--from-base).",
  },
  args: {
    action: { type: "positional", required: true, description: "build" },
    cluster: {
      ...CLUSTER_ARG,
      description: "Cluster whose Docker socket and, with --from-base, whose base is used",
    },
    tag: {
      type: "string",
      alias: "t",
      default: "openlambda",
      valueHint: "IMAGE",
      description: "Name of the image",
    },
    file: {
      type: "string",
      alias: "f",
      valueHint: "DOCKERFILE",
      description: "Dockerfile to build; its directory is the context",
    },
    "from-base": {
      type: "boolean",
      description: "Import the cluster's base, with what it shows of the host, instead",
    },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    const fromBase = args["from-base"] === true;
    if (args.action !== "build") {
      throw usageError(`Cannot ${args.action} an image: "image build" is the only action`);
    }
    if (!IMAGE_NAME.test(args.tag)) {
      throw usageError(
        `Cannot use --tag=${args.tag}: wanted a name such as openlambda or my/base:2`,
      );
    }
    if (fromBase && args.file !== undefined) {
      throw usageError("Cannot use --file with --from-base: an image has one source");
    }
    const wantsCluster = fromBase || args.cluster !== undefined;
    const paths = wantsCluster ? await openClusterOf(args.cluster) : null;
    const cluster = paths === null ? null : findDockerCluster(paths);
    const socket = cluster?.socket ?? defaultDockerSocket();
    const image = /:[^/]*$/.test(args.tag) ? args.tag : `${args.tag}:latest`;
    const notes = await openNotes();
    const docker = await connectDocker(socket);
    if (fromBase && paths !== null) {
      notes.note(`Importing ${paths.base}`);
      const manifest = readBaseManifest(paths.base);
      await importBase(docker, socket, { manifest, image, whole: true });
    } else {
      await buildImage(docker, socket, {
        dockerfile: args.file === undefined ? { text: dockerfile } : { path: args.file },
        image,
        onProgress: (text) => notes.note(text),
      });
    }
    const { Id, Size } = await docker.getImage(image).inspect();
    if (args.json) printJson({ image, id: Id, sizeBytes: Size });
    else print(`Built ${image} (${Math.round(Size / 1024 / 1024)} MiB)\n`);
  },
});
