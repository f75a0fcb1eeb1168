import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import type { ConnectionTaker, ListenAddress } from './transport.ts';

/** What a thread needs to know about the port that it shares with others. */
type ToTaker = { readonly kind: 'listen'; readonly address: ListenAddress } | { readonly kind: 'stop' };
type FromTaker = { readonly kind: 'listening' } | { readonly kind: 'failed'; readonly message: string };

export interface SharedListener {
  /** Listens on a port that others listen on, too. */
  listen(address: ListenAddress): Promise<unknown>;
  stop(): void;
}

/** Why there can be no I/O threads where {@link canSharePorts} says so. */
export const noSharedPorts: string = `I/O threads need uWebSockets.js, which is not used with TLS, or a Node that can share a port among threads: 22.12 or later, and this is ${process.versions.node}`;

/**
 * Node cannot hand a connection to another thread. Instead each thread listens on the same port (SO_REUSEPORT), and the kernel spreads connections over
 * them; the main thread says when. Node can since 22.12 and 23.1.
 */
export class PortSharer {
  readonly #takers: MessagePort[] = [];
  #own: MessagePort | undefined;

  /** The port on which another thread tells this one when to listen. */
  offer(listener: SharedListener): ConnectionTaker {
    const { port1, port2 } = new MessageChannel();
    this.#own = port1;
    const answer = (message: FromTaker): void => {
      port1.postMessage(message);
    };
    port1.on('message', (message: ToTaker) => {
      if (message.kind === 'stop') {
        listener.stop();
        return;
      }
      listener.listen(message.address).then(
        () => {
          answer({ kind: 'listening' });
        },
        (error: unknown) => {
          answer({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
        },
      );
    });
    return { value: port2, transfer: [port2] };
  }

  add(taker: unknown): void {
    if (!canSharePorts()) {
      throw new Error(noSharedPorts);
    }
    this.#takers.push(taker as MessagePort);
  }

  get hasTakers(): boolean {
    return this.#takers.length > 0;
  }

  async listen(address: ListenAddress): Promise<void> {
    await Promise.all(this.#takers.map((taker) => ask(taker, address)));
  }

  stop(): void {
    for (const taker of this.#takers) taker.postMessage({ kind: 'stop' } satisfies ToTaker);
  }

  /** Threads that were handed connections get no more messages. */
  forgetTakers(): void {
    for (const taker of this.#takers.splice(0)) taker.close();
  }

  close(): void {
    this.#own?.close();
  }
}

function ask(taker: MessagePort, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    taker.once('message', (message: FromTaker) => {
      if (message.kind === 'listening') resolve();
      else reject(new Error(message.message));
    });
    taker.postMessage({ kind: 'listen', address } satisfies ToTaker);
  });
}

export function canSharePorts(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
}
