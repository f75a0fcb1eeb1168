import type { KeyTarget } from '../durable/commits.ts';
import type { Session } from './session.ts';

/** Who watches one target on this host. */
export class KeyAudience {
  readonly target: KeyTarget;
  readonly watches: Set<KeyWatch> = new Set();
  /** Watches that wait for their answer. */
  pending = 0;

  constructor(target: KeyTarget) {
    this.target = target;
  }

  get isEmpty(): boolean {
    return this.watches.size === 0 && this.pending === 0;
  }
}

/**
 * `starting`: its answer has not come. `inBatch`: its answer waits for others, and what is new must not come first. `live`: it is sent what is new. `stale`: something was not sent, and
 * it is to be told so. `over`: unwatched, or its connection has gone.
 */
type WatchPhase = 'starting' | 'inBatch' | 'staleInBatch' | 'live' | 'stale' | 'over';

/** A session's watch of one key, or of all with a prefix. */
export class KeyWatch {
  readonly session: Session;
  readonly target: KeyTarget;
  /** All through here has been sent to it or, while it is stale, is to be read again. */
  version = 0;
  /** The last news before it began. */
  newsBefore = 0;
  #phase: WatchPhase = 'starting';

  constructor(session: Session, target: KeyTarget) {
    this.session = session;
    this.target = target;
  }

  get isLive(): boolean {
    return this.#phase === 'live';
  }

  get isStale(): boolean {
    return this.#phase === 'stale';
  }

  get isOver(): boolean {
    return this.#phase === 'over';
  }

  begin(isInBatch: boolean): void {
    this.#phase = isInBatch ? 'inBatch' : 'live';
  }

  /** What was new through a version was not sent to it. */
  miss(through: number): void {
    this.version = through;
    if (this.#phase === 'live') this.#phase = 'stale';
    else if (this.#phase === 'inBatch') this.#phase = 'staleInBatch';
  }

  noteBatchSent(): void {
    if (this.#phase === 'inBatch') this.#phase = 'live';
    else if (this.#phase === 'staleInBatch') this.#phase = 'stale';
  }

  /** It knows what it has missed. */
  noteResynced(): void {
    if (this.#phase === 'stale') this.#phase = 'live';
  }

  end(): void {
    this.#phase = 'over';
  }
}

/** A target's name among all keys and prefixes that a session watches. */
export function nameTarget({ kind, name }: KeyTarget): string {
  return kind === 'key' ? `=${name}` : `^${name}`;
}
