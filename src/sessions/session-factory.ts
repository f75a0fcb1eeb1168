import type { ServerConfig } from '../config/config.ts';
import { sessionsPerHostMax } from '../workers/session-numbers.ts';
import type { SessionOrigins } from '../workers/session-numbers.ts';
import { Consumption } from './consumption.ts';
import type { ConsumptionBounds } from './consumption.ts';
import type { HostClock } from './host-clock.ts';
import type { SessionState } from './session-lifecycle.ts';
import { SessionLog } from './session-log.ts';
import type { HostLog } from './session-log.ts';
import { createSecret } from './session-secret.ts';
import { Session, SessionIdentity } from './session.ts';
import type { IdentityFields } from './session.ts';

export interface SessionFactoryOptions {
  /** By which partitions address the host. */
  readonly number: number;
  /** Sessions that a thread of the same number, which has ended, had begun: their numbers are not given again. */
  readonly sessionsBefore?: number | undefined;
  /** Numbers of sessions of lives before are not given again either. */
  readonly origins: SessionOrigins;
  /** Where sessions keep what they registered. */
  readonly log: HostLog;
  readonly config: Pick<ServerConfig, 'sessionUnconsumedBytesMax' | 'slowConsumerBytesMax'>;
  readonly clock: Pick<HostClock, 'runningMs'>;
  /** A name that cannot be guessed: a lease's is all that is needed to end it. */
  readonly createName: () => string;
}

/** Makes the sessions of a host, and numbers them. */
export class SessionFactory {
  readonly #options: SessionFactoryOptions;
  readonly #consumptionBounds: ConsumptionBounds;
  #begun: number;
  #arrivals = 0;

  constructor(options: SessionFactoryOptions) {
    const { sessionsBefore = 0, config } = options;
    this.#options = options;
    this.#begun = sessionsBefore;
    this.#consumptionBounds = {
      unconsumedBytesMax: config.sessionUnconsumedBytesMax,
      closeBytesMax: config.slowConsumerBytesMax,
    };
  }

  /** Sessions that this host, or the one before it of the same number, has begun. */
  get begunCount(): number {
    return this.#begun;
  }

  /** Of the session that came last to this host. */
  get lastArrival(): number {
    return this.#arrivals;
  }

  /** Of a session that begins on this host. */
  beginIdentity(isConnection: boolean): SessionIdentity {
    const { createName, number: host, origins } = this.#options;
    this.#begun = Math.max(this.#begun, origins.sessionsBefore(host)) + 1;
    const number = host * sessionsPerHostMax + this.#begun;
    const name = createName();
    return this.restoreIdentity({
      number,
      name,
      secret: createSecret(number, createName()),
      isConnection,
      hasTravelled: false,
    });
  }

  /** Of a session that had begun before, here or on another host; what it registered follows. */
  restoreIdentity(fields: Omit<IdentityFields, 'registrations'>): SessionIdentity {
    return new SessionIdentity({ ...fields, registrations: new SessionLog(this.#options.log) });
  }

  create(identity: SessionIdentity, state: SessionState, address: string): Session {
    this.#arrivals += 1;
    return new Session({
      identity,
      address,
      arrival: this.#arrivals,
      state,
      nowMs: this.#options.clock.runningMs,
      consumption: new Consumption(this.#consumptionBounds),
    });
  }
}
