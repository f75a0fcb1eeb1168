import type { CloseReason } from '../protocol/errors.ts';
import type { SessionOpenParams } from '../protocol/types.ts';
import type { Audience, Delivery, Member } from '../push/fan-out.ts';
import type { Variant } from '../push/variant.ts';
import type { CallLane } from './call-lane.ts';
import type { Consumption } from './consumption.ts';
import type { SessionLog } from './session-log.ts';

/** What a session needs of its connection. */
export interface Socket {
  /** `dropped`: the backlog is full, and the frame is not sent. */
  send(frame: string | Uint8Array): Delivery;
  /** Runs `send`s as one write to the kernel. */
  cork(sends: () => void): void;
  /** Pings with a payload that the pong brings back. Returns whether it was sent. */
  ping(mark: string): boolean;
  /** Sends a close frame with a code of the list and ends the connection. */
  end(reason: CloseReason): void;
}

/**
 * Where a session stands. Registrations are kept through `broken`, until `removeAtMs`, and through `held`, when the grace is over and a
 * guard holds back their removal.
 */
export type SessionState =
  | { readonly kind: 'connected'; readonly socket: Socket }
  | { readonly kind: 'leased'; readonly lease: string; expiresAtMs: number; readonly ttlMs: number }
  | { readonly kind: 'broken'; readonly removeAtMs: number }
  | { readonly kind: 'held' }
  | { readonly kind: 'ended' };

export interface SessionOptions {
  readonly number: number;
  readonly name: string;
  readonly secret: string;
  readonly state: SessionState;
  readonly registrations: SessionLog;
  readonly nowMs: number;
  readonly consumption: Consumption;
}

/** One caller and all that it registered and subscribed: a WebSocket connection, or a lease of a caller over HTTP. */
export class Session {
  /** Unique in the process; names the host too. */
  readonly number: number;
  /** What the caller sees, and logs show. */
  readonly name: string;
  /** Known to the caller alone: whoever has it may take the session over. */
  readonly secret: string;
  state: SessionState;
  /** Whether it is a connection, now or before; else it is a lease. */
  readonly isConnection: boolean;
  opened: SessionOpenParams | undefined;
  /** When something was last heard from it, on the host's clock. */
  heardAtMs: number;
  requestsInFlight = 0;
  readonly registrations: SessionLog;
  readonly subscriptions: Map<string, Subscription> = new Map();
  /** Made when it first reads: nearly all calls of those that only register need none. */
  lane: CallLane | undefined;
  /** Frames of this turn, sent together at its end. */
  outgoing: string[] = [];
  readonly consumption: Consumption;
  /** An answer did not fit into its backlog: it is to be closed. */
  hasLostAnswer = false;

  constructor({ number, name, secret, state, registrations, nowMs, consumption }: SessionOptions) {
    this.number = number;
    this.consumption = consumption;
    this.name = name;
    this.secret = secret;
    this.state = state;
    this.registrations = registrations;
    this.isConnection = state.kind === 'connected';
    this.heardAtMs = nowMs;
  }

  get socket(): Socket | undefined {
    return this.state.kind === 'connected' ? this.state.socket : undefined;
  }

  /** Of what is to be sent at the end of this turn, or of a later one. A text's characters stand for its bytes. */
  get unsentBytes(): number {
    if (this.outgoing.length === 0) return 0;
    let bytes = 0;
    for (const frame of this.outgoing) bytes += frame.length;
    return bytes;
  }

  /** Sends the turn's answers. `dropped`: not all of them fitted, so the session must be closed: an answer is never just lost. */
  flush(): Delivery {
    const frames = this.outgoing;
    if (frames.length === 0) return 'sent';
    this.outgoing = [];
    const { socket } = this;
    if (socket === undefined) return 'closed';
    if (frames.length === 1) return this.#send(socket, frames[0]!);
    let delivery: Delivery = 'sent';
    socket.cork(() => {
      for (const frame of frames) {
        // However much is asked for in one turn, what is answered unread stays bounded (PU4).
        if (delivery === 'sent') delivery = this.consumption.isExcessive ? 'dropped' : this.#send(socket, frame);
      }
    });
    return delivery;
  }

  /** Sends a push, unless the session is behind with reading: then it is dropped as if the backlog were full (PU4). */
  push(frame: string | Uint8Array): Delivery {
    const { socket } = this;
    if (socket === undefined) return 'closed';
    if (this.consumption.judge()) return 'dropped';
    return this.#send(socket, frame);
  }

  /** Asks the client to say how far it has read, and that it lives. */
  ping(): void {
    if (this.socket?.ping(this.consumption.mark) === true) this.consumption.noteMarked();
  }

  #send(socket: Socket, frame: string | Uint8Array): Delivery {
    const { consumption } = this;
    // A text's bytes are not counted: its characters are near enough, and known.
    const bytes = frame.length;
    if (!consumption.isMarkDue(bytes)) {
      const delivery = socket.send(frame);
      if (delivery === 'sent') consumption.noteSent(bytes);
      return delivery;
    }
    let delivery: Delivery = 'dropped';
    // The mark leaves with the frame, in one write.
    socket.cork(() => {
      delivery = socket.send(frame);
      if (delivery !== 'sent') return;
      consumption.noteSent(bytes);
      this.ping();
    });
    return delivery;
  }
}

/** A session's standing wish to hear about one service. */
export class Subscription implements Member {
  readonly session: Session;
  readonly key: string;
  readonly variant: Variant;
  version = 0;
  isStale = false;
  isWaiting = false;
  hasMissed = false;
  /** The latest state has been asked for. */
  isResyncing = false;
  place = -1;
  /** Not unsubscribed before its first answer. */
  isWanted = true;
  /** Set once the first answer has been given. */
  audience: Audience<Subscription> | undefined;

  constructor(session: Session, key: string, variant: Variant) {
    this.session = session;
    this.key = key;
    this.variant = variant;
  }

  get unsentBytes(): number {
    return this.session.unsentBytes;
  }

  deliver(frame: string | Uint8Array): Delivery {
    // What waits for its turn may be the answer that this must not overtake.
    if (this.session.outgoing.length > 0 && this.session.flush() === 'dropped') {
      this.session.hasLostAnswer = true;
      return 'dropped';
    }
    return this.session.push(frame);
  }
}
