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

interface Asking {
  requests: number;
  hasEnded: boolean;
}

/**
 * Tells partitions which sessions that may hold keys live. They know the keys; what a session is known to have is only that it has ever tried to acquire one. All partitions are told, once no
 * slot is moving or being rebuilt: so none misses it on its way.
 */
export class KeyHolding {
  readonly #options: KeyHoldingOptions;
  /** Sessions that have asked for something that depends on what they hold, and have no answer yet. */
  readonly #asking: Map<SessionIdentity, Asking> = new Map();

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

  /** Who holds what a session acquires; empty: it has ended, and acquires nothing any more. What it holds it may still release: that was asked for before it ended. */
  readHolder({ identity }: Session, isAcquiring: boolean): string {
    return isAcquiring && identity.isOver ? '' : identity.holder;
  }

  /** A session asks for something that depends on what it holds, a release for example. If it ends meanwhile, it holds that until it has its answer. */
  noteAsked(identity: SessionIdentity): void {
    const asking = this.#asking.get(identity) ?? { requests: 0, hasEnded: false };
    asking.requests += 1;
    this.#asking.set(identity, asking);
  }

  noteAnswered(identity: SessionIdentity): void {
    const asking = this.#asking.get(identity);
    if (asking === undefined) throw new Error('nothing was asked for');
    asking.requests -= 1;
    if (asking.requests > 0) return;
    this.#asking.delete(identity);
    if (asking.hasEnded) this.#tellEnd(identity);
  }

  /** Sessions that have ended, and hold what they held until they have their answers. */
  *ending(): Generator<SessionIdentity, void, undefined> {
    for (const [identity, { hasEnded }] of this.#asking) if (hasEnded) yield identity;
  }

  /** The session may hold keys that an earlier process granted to its client, or another host to the session. */
  vouch(identity: SessionIdentity): void {
    identity.mayHold = true;
    this.#tellAll(() =>
      identity.isOver && this.#asking.get(identity)?.hasEnded !== true
        ? undefined
        : [toPartition.vouch, identity.holder],
    );
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
  end(identity: SessionIdentity): void {
    if (!identity.mayHold) return;
    const asking = this.#asking.get(identity);
    if (asking === undefined) this.#tellEnd(identity);
    else asking.hasEnded = true;
  }

  #tellEnd({ holder }: SessionIdentity): void {
    this.#tellAll(() => [toPartition.endHolder, holder]);
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
