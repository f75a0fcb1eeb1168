import { askApplied } from '../routing/router.ts';
import type { Router } from '../routing/router.ts';
import { toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { SessionIdentity } from './session.ts';
import type { Session } from './session.ts';

export interface KeyHoldingOptions {
  readonly router: Router;
  /** Sessions that are vouched for in one turn. */
  readonly sliceSessions: number;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** A session, or a lease, may hold keys from now on. */
  readonly onMayHold: (session: Session) => void;
}

/**
 * Tells partitions which sessions that may hold keys live. They know the keys; what a session is known to have is only that it has ever tried to acquire one. All partitions are told, once no
 * slot is moving or being rebuilt: so none misses it on its way.
 */
export class KeyHolding {
  readonly #options: KeyHoldingOptions;

  constructor(options: KeyHoldingOptions) {
    this.#options = options;
  }

  /** The session is about to acquire a key, or may hold some already. */
  noteAcquiring(session: Session): void {
    const { identity } = session;
    if (identity.mayHold) return;
    identity.mayHold = true;
    this.#options.onMayHold(session);
  }

  /** Who holds what the session acquires; empty: it has ended, and holds nothing any more. */
  readHolder({ identity }: Session): string {
    return identity.isOver ? '' : identity.holder;
  }

  /** The session may hold keys that an earlier process granted to its client, or another host to the session. */
  vouch(identity: SessionIdentity): void {
    identity.mayHold = true;
    this.#tellAll(() => (identity.isOver ? undefined : [toPartition.vouch, identity.holder]));
  }

  /** Vouches for sessions of the life before, which may still be taken over. Resolves once partitions know of them; none may end until then. */
  async vouchForEarlier(sessions: Iterable<Session>): Promise<void> {
    const { router, sliceSessions, schedule } = this.#options;
    let inTurn = 0;
    for (const { identity } of sessions) {
      this.vouch(identity);
      inTurn += 1;
      if (inTurn < sliceSessions) continue;
      inTurn = 0;
      await new Promise<void>((resolve) => {
        schedule(resolve);
      });
    }
    await new Promise<void>((resolve) => {
      router.whenThawed('all', resolve);
    });
    // One that dies meanwhile is told when it is rebuilt.
    await Promise.all(
      router.links().map((link) => askApplied({ router, link }, (request) => [toPartition.fence, request])),
    );
  }

  /** The session has ended. */
  end({ mayHold, holder }: SessionIdentity): void {
    if (mayHold) this.#tellAll(() => [toPartition.endHolder, holder]);
  }

  /** Whoever was there before the process started has had the time to come back. */
  noteEveryoneBack(): void {
    this.#tellAll(() => [toPartition.releaseOrphans]);
  }

  #tellAll(build: () => ToPartition | undefined): void {
    this.#options.router.whenThawed('all', () => {
      const record = build();
      if (record !== undefined) for (const link of this.#options.router.links()) link.tell(record);
    });
  }
}
