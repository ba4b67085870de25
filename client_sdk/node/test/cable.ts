// The network between a front-end and its pixied, which a test can cut or hold.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class Cable {
  private readonly sockets = new Set<Socket>();
  private readonly held: Socket[] = [];
  private isHeld = false;
  private port = 0;

  private constructor(private readonly server: Server) {}

  /** Lays a cable to a pixied on a Unix socket. */
  static async to(address: string): Promise<Cable> {
    const server = createServer();
    const cable = new Cable(server);
    server.on('connection', (near) => cable.join(near, connect(address.replace('unix://', ''))));
    await cable.plugIn();
    return cable;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Whether there is a connection. */
  get isInUse(): boolean {
    return this.sockets.size > 0;
  }

  /** Cuts every connection; new ones can be made. */
  cut(): void {
    this.release();
    for (const socket of this.sockets) socket.destroy();
  }

  /** Keeps back whatever pixied says, and lets everything else through. */
  hold(): void {
    this.isHeld = true;
    for (const socket of this.held) socket.pause();
  }

  release(): void {
    this.isHeld = false;
    for (const socket of this.held) socket.resume();
  }

  /** Lets connections be made, at the same address as before. */
  async plugIn(): Promise<void> {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** Cuts every connection; none can be made. */
  async unplug(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  async dispose(): Promise<void> {
    if (this.server.listening) await this.unplug();
  }

  private join(near: Socket, far: Socket): void {
    this.held.push(far);
    far.on('data', (data) => near.write(data));
    if (this.isHeld) far.pause();
    near.pipe(far);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.sockets.delete(one);
        other.destroy();
      });
    }
  }
}
