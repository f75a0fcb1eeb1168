import type { WireLimits } from '../protocol/types.ts';
import type { Settings } from './options.ts';

/**
 * What a connection can be, what can happen to it, and what is to be done then. A socket is a number here, one higher for each that is
 * opened, so that what an old one says late is told apart.
 */
export interface LinkBase {
  /** The number of the newest socket. */
  readonly newest: number;
  /** Index of the server that is, or was last, connected to. */
  readonly server: number;
  /** Tries in a row that gave no lasting session. */
  readonly failures: number;
  /** Why the last connection, or try, ended. */
  readonly cause: string;
  /** Servers that do not speak a version of the protocol with this client, as far as they have said since the last session. */
  readonly outdated: readonly number[];
}

/** No connection; the next try is at `retryAtMs`. */
export interface Waiting extends LinkBase {
  readonly kind: 'waiting';
  readonly retryAtMs: number;
}
/** A socket is being opened. */
export interface Connecting extends LinkBase {
  readonly kind: 'connecting';
  readonly socket: number;
  readonly deadlineMs: number;
  /** It is opened once there is a token. */
  readonly isTokenAwaited: boolean;
}
/** The socket is open; `session.open` has been sent. */
export interface Opening extends LinkBase {
  readonly kind: 'opening';
  readonly socket: number;
  readonly deadlineMs: number;
}
/** The session is open: requests may be sent on `socket`. */
export interface Serving extends LinkBase {
  readonly socket: number;
  readonly sinceMs: number;
  readonly lastActivityAtMs: number;
  /** When a sign of life was asked for, if none has come since. */
  readonly probedAtMs: number | undefined;
  readonly limits: WireLimits;
  /** The server pings whom it has not heard for this long, and gives up whom it has not heard for three times as long. */
  readonly heartbeatMs: number;
}
export interface Ready extends Serving {
  readonly kind: 'ready';
  /** When to look whether a server that comes earlier in the list is there again; undefined on the first. */
  readonly returnAtMs: number | undefined;
}
/**
 * The session is open, and another connection is to take its place: it serves until that one does. `leave`: the server asked us to
 * go, and it is tried until it works. `return`: an earlier server of the list is tried, once.
 */
export interface Moving extends Serving {
  readonly kind: 'moving';
  readonly goal: 'leave' | 'return';
  /** Index of the server that is to be moved to. */
  readonly target: number;
  readonly tries: number;
  readonly next: Next;
}
export type Next =
  | { readonly stage: 'due'; readonly atMs: number }
  | {
      readonly stage: 'connecting';
      readonly socket: number;
      readonly deadlineMs: number;
      readonly isTokenAwaited: boolean;
    }
  | { readonly stage: 'opening'; readonly socket: number; readonly deadlineMs: number };
/** The user closed; the server's close frame is awaited. */
interface Closing extends LinkBase {
  readonly kind: 'closing';
  readonly socket: number;
  readonly deadlineMs: number;
}
interface Closed extends LinkBase {
  readonly kind: 'closed';
}
export type LinkState = Waiting | Connecting | Opening | Ready | Moving | Closing | Closed;

export type LinkEvent =
  /** A token was given for a socket that is to be opened. */
  | { readonly kind: 'tokenGiven'; readonly socket: number }
  | { readonly kind: 'socketOpened'; readonly socket: number }
  | { readonly kind: 'socketClosed'; readonly socket: number; readonly cause: string }
  | { readonly kind: 'activity'; readonly socket: number }
  | {
      readonly kind: 'openAccepted';
      readonly socket: number;
      readonly limits: WireLimits;
      readonly heartbeatMs: number;
    }
  | {
      readonly kind: 'openRefused';
      readonly socket: number;
      readonly cause: string;
      readonly retryAfterMs: number;
      /** The server speaks no version of the protocol that this client does. */
      readonly isOutdated?: boolean;
    }
  /** What the server sent cannot be read. */
  | { readonly kind: 'garbled'; readonly socket: number }
  | { readonly kind: 'goaway'; readonly socket: number; readonly reconnectAfterMs: number }
  | { readonly kind: 'tick' }
  | { readonly kind: 'close' };

export type LinkEffect =
  /** Then comes `tokenGiven`, or `socketClosed` if there is none. */
  | { readonly kind: 'askToken'; readonly socket: number }
  | { readonly kind: 'openSocket'; readonly socket: number; readonly url: string }
  /** `abandon`: not an orderly end, so that the server keeps our registrations for its grace (SE2). */
  | { readonly kind: 'closeSocket'; readonly socket: number; readonly manner: 'orderly' | 'abandon' }
  | { readonly kind: 'sendOpen'; readonly socket: number }
  | { readonly kind: 'sendProbe' }
  | { readonly kind: 'up' }
  /** Another socket serves now; the one before is still open. */
  | { readonly kind: 'moved'; readonly from: number }
  | { readonly kind: 'down'; readonly cause: string; readonly retryInMs: number }
  /** A try failed. */
  | {
      readonly kind: 'unreachable';
      readonly socket: number;
      readonly url: string;
      readonly cause: string;
      readonly retryInMs: number;
    }
  /** No server speaks this client's version: nothing is tried any more. */
  | { readonly kind: 'gaveUp' }
  | { readonly kind: 'closed' };

export interface LinkStep {
  readonly state: LinkState;
  readonly effects: readonly LinkEffect[];
}

/** Inputs in addition to the event: the time (monotonic), a random number in [0, 1), and the settings. */
export interface Inputs {
  readonly nowMs: number;
  readonly random: number;
  readonly settings: Settings;
}
