import type { ClaimNotices } from './claim-notices.ts';
import type { IntakeLines } from './intake-lines.ts';
import type { KeyWatches } from './key-watches.ts';
import type { Session } from './session.ts';
import type { SlowConsumers } from './slow-consumers.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface ConnectionsOptions {
  readonly lines: IntakeLines;
  readonly subscriptions: Subscriptions;
  readonly keyWatches: KeyWatches;
  readonly notices: ClaimNotices;
  readonly slow: SlowConsumers;
}

/** What a host keeps of a session's connection, and nobody takes over: frames that have not been carried out, subscriptions, watches of keys, and what is still to be sent. */
export class Connections {
  readonly #options: ConnectionsOptions;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Nothing more is sent to this connection, nor read from it. `isClean`: its client has closed it in order. */
  cutOff(session: Session, isClean: boolean): void {
    const { lines, subscriptions, keyWatches, notices, slow } = this.#options;
    lines.forget(session);
    subscriptions.unsubscribeAll(session);
    keyWatches.unwatchAll(session);
    notices.forget(session);
    slow.forget(session);
    session.lane?.close(isClean);
    session.outgoing = [];
  }
}
