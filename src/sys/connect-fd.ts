/** Bun's sockets on a descriptor that is open already; its types do not know the option (Bun 1.4.5). */

/**
 * @param fd a connected unix socket; Bun owns it from now on and closes it
 * @param socket handlers
 * @returns the open socket
 */
export async function connectFd(fd: number, socket: Bun.SocketHandler): Promise<Bun.Socket> {
  const options: unknown = { fd, socket };
  return await Bun.connect(options as Bun.TCPSocketConnectOptions);
}
