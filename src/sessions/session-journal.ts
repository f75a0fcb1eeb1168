import type { CloseReason, ErrorCode } from '../protocol/errors.ts';
import type { BoundCause, NamedSession } from '../runtime/counters.ts';
import type { Session } from './session.ts';

/** Who a line of the log is about. Nothing of it is a secret: a session's name only names it. */
export interface SessionIdentity {
  readonly session: string;
  readonly address: string;
  readonly client?: string;
  readonly app?: string;
  readonly zone?: string;
}

/** What is worth a line of the log. Plain, since a host may be on another thread. */
export type SessionEvent =
  | ({ readonly kind: 'connected' | 'opened' | 'left' } & SessionIdentity)
  | ({ readonly kind: 'broken'; readonly registrations: number } & SessionIdentity)
  | ({ readonly kind: 'closed'; readonly reason: CloseReason; readonly registrations: number } & SessionIdentity)
  | { readonly kind: 'originRefused'; readonly origin: string; readonly address: string }
  /** A bound has been met this many times since the last report; `cause` is who met it this time. */
  | ({ readonly kind: 'boundMet'; readonly bound: string; readonly count: number } & Partial<SessionIdentity>)
  /** And requests refused with a code, but for those that met a bound. */
  | ({ readonly kind: 'refused'; readonly code: ErrorCode; readonly count: number } & Partial<SessionIdentity>)
  /** Events of one sort that are summarized, because there were too many at once. */
  | { readonly kind: 'suppressed'; readonly what: string; readonly count: number };

/** Events of one sort that are reported one by one in each window; the rest are only counted. */
const linesPerWindow = 10;
const windowMs = 10_000;
/** An Origin is as long as its sender likes, and none that matches anything is longer. */
const originCharsMax = 256;

/** Closes that say something about a client. The others are the server's own doing, or the client's in order. */
const faults: ReadonlySet<CloseReason> = new Set([
  'binary_frame',
  'frame_too_big',
  'heartbeat_timeout',
  'overrun',
  'slow_consumer',
]);

export function isFault(reason: CloseReason): boolean {
  return faults.has(reason);
}

/** A bound that was met, or a code of refusals, that has been logged: until the window is over, it is only counted. */
interface Met {
  readonly what:
    | { readonly kind: 'boundMet'; readonly bound: string }
    | { readonly kind: 'refused'; readonly code: ErrorCode };
  readonly endsAtMs: number;
  untold: number;
  lastCause: BoundCause;
}

interface Window {
  readonly endsAtMs: number;
  told: number;
  suppressed: number;
}

/**
 * Logs what happens to the sessions of one host. What concerns operators is logged at a limited rate: ten thousand
 * clients that break together are not ten thousand lines. Sessions that connect and leave are logged only at a level that includes them.
 */
export class SessionJournal {
  readonly isVerbose: boolean;
  readonly #tell: (event: SessionEvent) => void;
  readonly #windows: Map<string, Window> = new Map();
  readonly #met: Map<string, Met> = new Map();

  constructor(isVerbose: boolean, tell: (event: SessionEvent) => void) {
    this.isVerbose = isVerbose;
    this.#tell = tell;
  }

  noteConnected(session: Session): void {
    if (this.isVerbose) this.#tell({ kind: 'connected', ...identify(session) });
  }

  noteOpened(session: Session): void {
    if (this.isVerbose) this.#tell({ kind: 'opened', ...identify(session) });
  }

  /** A connection has ended; `reason`: the server closed it. */
  noteEnded(session: Session, isClean: boolean, reason: CloseReason | undefined, nowMs: number): void {
    const isWorthTelling = reason !== undefined && isFault(reason);
    if (!isWorthTelling && !this.isVerbose) return;
    if (isWorthTelling && !this.#admit(`closed ${reason}`, nowMs)) return;
    const identity = identify(session);
    const registrations = session.registrations.size;
    if (reason !== undefined) this.#tell({ kind: 'closed', reason, ...identity, registrations });
    else if (isClean) this.#tell({ kind: 'left', ...identity });
    else this.#tell({ kind: 'broken', ...identity, registrations });
  }

  noteOriginRefused(origin: string, address: string, nowMs: number): void {
    if (!this.#admit('origin refused', nowMs)) return;
    this.#tell({ kind: 'originRefused', origin: origin.slice(0, originCharsMax), address });
  }

  /** A bound was met. The first time is logged at once, further ones once in each window. */
  noteBound(bound: string, cause: BoundCause, nowMs: number): void {
    this.#note(`bound ${bound}`, { kind: 'boundMet', bound }, cause, nowMs);
  }

  /** A request was refused for a reason other than a bound; logged at the same rate. */
  noteRefusal(code: ErrorCode, cause: BoundCause, nowMs: number): void {
    this.#note(`refused ${code}`, { kind: 'refused', code }, cause, nowMs);
  }

  #note(name: string, what: Met['what'], cause: BoundCause, nowMs: number): void {
    const met = this.#met.get(name);
    if (met === undefined || nowMs >= met.endsAtMs) {
      this.#tellMet(name, what, cause, (met?.untold ?? 0) + 1, nowMs);
      return;
    }
    met.untold += 1;
    met.lastCause = cause;
  }

  /** Tells how many were left out, once a window is over. */
  tick(nowMs: number): void {
    for (const [what, window] of this.#windows) {
      if (nowMs >= window.endsAtMs) this.#end(what, window);
    }
    for (const [name, { what, endsAtMs, untold, lastCause }] of this.#met) {
      if (nowMs < endsAtMs) continue;
      if (untold > 0) this.#tellMet(name, what, lastCause, untold, nowMs);
      else this.#met.delete(name);
    }
  }

  #tellMet(name: string, what: Met['what'], cause: BoundCause, count: number, nowMs: number): void {
    // A session that has ended by the time it is logged is not kept for that.
    this.#met.set(name, { what, endsAtMs: nowMs + windowMs, untold: 0, lastCause: undefined });
    const identity = typeof cause === 'object' ? identify(cause) : cause === undefined ? {} : { address: cause };
    this.#tell({ ...what, count, ...identity });
  }

  #admit(what: string, nowMs: number): boolean {
    let window = this.#windows.get(what);
    if (window !== undefined && nowMs >= window.endsAtMs) {
      this.#end(what, window);
      window = undefined;
    }
    if (window === undefined) {
      window = { endsAtMs: nowMs + windowMs, told: 0, suppressed: 0 };
      this.#windows.set(what, window);
    }
    if (window.told >= linesPerWindow) {
      window.suppressed += 1;
      return false;
    }
    window.told += 1;
    return true;
  }

  #end(what: string, { suppressed }: Window): void {
    this.#windows.delete(what);
    if (suppressed > 0) this.#tell({ kind: 'suppressed', what, count: suppressed });
  }
}

function identify({ name, address, opened }: NamedSession): SessionIdentity {
  const { client, app, zone } = opened ?? {};
  return {
    session: name,
    address,
    ...(client === undefined ? {} : { client }),
    ...(app === undefined ? {} : { app }),
    ...(zone === undefined ? {} : { zone }),
  };
}
