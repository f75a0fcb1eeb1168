import type { Logger } from 'pino';

import type { Counters } from '../runtime/counters.ts';
import type { Descriptors } from '../runtime/descriptors.ts';
import type { ListenAddress, Transport } from '../transport/transport.ts';

export interface SessionListenerOptions {
  readonly transport: Transport;
  readonly descriptors: Descriptors;
  readonly counters: Counters;
  readonly log: Logger;
}

/** So many descriptors must be free before connections are accepted again. */
const descriptorsToListen = 8;

/** Accepts connections for as long as the server runs and has descriptors for them. */
export class SessionListener {
  readonly #options: SessionListenerOptions;
  #isOver = false;

  constructor(options: SessionListenerOptions) {
    this.#options = options;
  }

  /** Resolves to where it listens; rejects if the port is in use, or the address is not this machine's. */
  listen(host: string, port: number): Promise<ListenAddress> {
    return this.#options.transport.listen(host, port);
  }

  /** Running out of descriptors must not affect existing sessions: connections that cannot be accepted are not waited for. */
  tick(): void {
    if (this.#isOver) return;
    const { transport, descriptors, counters, log } = this.#options;
    if (transport.isListening) {
      if (descriptors.hasRoom(1)) return;
      counters.count('accept_paused');
      log.warn('out of file descriptors: no connections are accepted for now');
      transport.pauseListening();
    } else if (descriptors.hasRoom(descriptorsToListen)) {
      transport.resumeListening().then(
        () => {
          log.info('connections are accepted again');
        },
        // It is tried again with the next tick.
        () => undefined,
      );
    }
  }

  /** From now on no connections are taken. */
  stop(): void {
    this.#isOver = true;
    this.#options.transport.stopListening();
  }
}
