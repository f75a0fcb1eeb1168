import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

const host = '127.0.0.1';

/** A wire between client and server that can be cut, or go dead without a word. */
export class Wire {
  readonly #proxy: Server;
  readonly #pairs: [near: Socket, far: Socket][] = [];
  #isClosed = false;

  private constructor(port: number) {
    this.#proxy = createServer((near) => {
      if (this.#isClosed) {
        near.resetAndDestroy();
        return;
      }
      const far = connect(port, host);
      this.#pairs.push([near, far]);
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) socket.on('error', () => socket.destroy());
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
    });
  }

  static async start(port: number): Promise<Wire> {
    const wire = new Wire(port);
    wire.#proxy.listen(0, host);
    await once(wire.#proxy, 'listening');
    return wire;
  }

  get url(): string {
    return `ws://${host}:${(this.#proxy.address() as AddressInfo).port}`;
  }

  /** Connections break; others may be made. */
  cut(): void {
    for (const pair of this.#pairs.splice(0)) for (const socket of pair) socket.resetAndDestroy();
  }

  /** Connections break, and no others are made until it is opened again. */
  close(): void {
    this.#isClosed = true;
    this.cut();
  }

  open(): void {
    this.#isClosed = false;
  }

  /** Nothing gets through, and nobody is told. */
  freeze(): void {
    for (const [near, far] of this.#pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  }

  async stop(): Promise<void> {
    this.cut();
    this.#proxy.close();
    await once(this.#proxy, 'close');
  }
}
