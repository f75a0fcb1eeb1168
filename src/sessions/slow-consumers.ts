import type { Counters } from '../runtime/counters.ts';
import type { HostClock } from './host-clock.ts';
import type { Session } from './session.ts';

export interface SlowConsumersOptions {
  /** How long a session may be behind without reading anything. */
  readonly timeoutMs: number;
  readonly clock: Pick<HostClock, 'runningMs'>;
  readonly counters: Counters;
}

/** Closing one costs the kernel some work. */
const closedPerTick = 200;

/** Sessions that are behind with reading, and the end of those that stay so (PU4). */
export class SlowConsumers {
  readonly #options: SlowConsumersOptions;
  readonly #behind: Set<Session> = new Set();

  constructor(options: SlowConsumersOptions) {
    this.#options = options;
  }

  /** It was sent something, or was not because of what it has not read. */
  judge(session: Session): void {
    const { consumption } = session;
    if (session.state.kind !== 'connected' || !consumption.judge()) return;
    if (!this.#behind.has(session)) {
      this.#behind.add(session);
      consumption.progressAtMs = this.#options.clock.runningMs;
      this.#options.counters.count('session_conflated', session);
    }
    if (consumption.isExcessive) this.close(session);
  }

  /** The client has said how far it has read. Returns whether it was behind and is no longer: then it is to get what it missed. */
  acknowledge(session: Session, mark: string): boolean {
    if (!session.consumption.acknowledge(mark, this.#options.clock.runningMs)) return false;
    this.#behind.delete(session);
    return true;
  }

  /** The session is over, or its connection is. */
  forget(session: Session): void {
    this.#behind.delete(session);
  }

  tick(): void {
    let closed = 0;
    for (const session of this.#behind) {
      if (this.#options.clock.runningMs - session.consumption.progressAtMs < this.#options.timeoutMs) continue;
      if (closed === closedPerTick) return;
      closed += 1;
      this.close(session);
    }
  }

  /** It does not read what it must be sent. */
  close(session: Session): void {
    this.#behind.delete(session);
    if (session.socket === undefined) return;
    this.#options.counters.countClose('slow_consumer');
    session.socket.end('slow_consumer');
  }
}
