import type { Grant } from '../access/access-check.ts';
import { anonymous } from '../protocol/actor.ts';
import type { Actor } from '../protocol/actor.ts';
import { understands } from '../protocol/capabilities.ts';
import type { Capability } from '../protocol/capabilities.ts';
import type { Failure } from '../protocol/errors.ts';
import type { SessionOpenParams } from '../protocol/types.ts';
import type { Audience, Delivery, Member } from '../push/fan-out.ts';
import type { Variant } from '../push/variant.ts';
import { persistentOwner } from '../store/persistent-owner.ts';
import type { Socket } from '../transport/transport.ts';
import type { CallLane } from './call-lane.ts';
import type { Consumption } from './consumption.ts';
import type { SessionState } from './session-lifecycle.ts';
import type { SessionLog } from './session-log.ts';
import { nameHolder } from './session-secret.ts';
import { nextPhase } from './subscription-lifecycle.ts';
import type { SubscriptionEvent, SubscriptionPhase } from './subscription-lifecycle.ts';

/** What a session is to others, and what is left of it when its connection has gone: whoever takes the session over gets this, whole. */
export class SessionIdentity {
  /** Unique in the process; names the host where it began. */
  readonly number: number;
  /** What the caller sees, and logs show. */
  readonly name: string;
  /** Known to the caller alone: whoever has it may take the session over. */
  readonly secret: string;
  /** Whether it is a connection, now or before; else it is a lease, or has what is persistent. */
  readonly isConnection: boolean;
  readonly registrations: SessionLog;
  /** Some of what it held has been withdrawn, and nobody was asked to say when that is done. */
  hasWithdrawn = false;
  /** It has come from another host. */
  readonly hasTravelled: boolean;
  /** It has ended: nobody takes it over any more. */
  isOver = false;
  /** The application that it belonged to before it came to this host, or to this life of the process. */
  readonly app: string | undefined;
  /** It has tried to acquire a key, and may hold some. */
  mayHold: boolean;
  #holder: string | undefined;
  #changesUnderWay = 0;
  #waiting: (() => void)[] = [];

  constructor(fields: IdentityFields) {
    const { number, name, secret, isConnection, hasTravelled, registrations, app, mayHold = false, holder } = fields;
    this.number = number;
    this.name = name;
    this.secret = secret;
    this.isConnection = isConnection;
    this.hasTravelled = hasTravelled;
    this.registrations = registrations;
    this.app = app;
    this.mayHold = mayHold;
    this.#holder = holder;
  }

  /** Names the session as a holder of keys: made from its secret, which it does not tell, so a client that comes back with that after a restart holds what it held. */
  get holder(): string {
    this.#holder ??= nameHolder(this.secret);
    return this.#holder;
  }

  /** It continues to hold, under their name, what another session of its client held before the process restarted. */
  adoptHolder(secret: string): void {
    this.#holder = nameHolder(secret);
  }

  /** Whether all registrations and deregistrations that it asked for are answered. */
  get isSettled(): boolean {
    return this.#changesUnderWay === 0;
  }

  noteAsked(): void {
    this.#changesUnderWay += 1;
  }

  noteAnswered(): void {
    this.#changesUnderWay -= 1;
    if (this.#changesUnderWay > 0 || this.#waiting.length === 0) return;
    for (const run of this.#waiting.splice(0)) run();
  }

  /** Runs a task once all that was asked for is answered: then the log is what the session holds. */
  whenSettled(run: () => void): void {
    if (this.isSettled) run();
    else this.#waiting.push(run);
  }
}

export interface IdentityFields {
  readonly number: number;
  readonly name: string;
  readonly secret: string;
  readonly isConnection: boolean;
  readonly hasTravelled: boolean;
  readonly registrations: SessionLog;
  readonly app?: string | undefined;
  readonly mayHold?: boolean | undefined;
  /** If it is not made from its own secret. */
  readonly holder?: string | undefined;
}

export interface SessionOptions {
  readonly identity: SessionIdentity;
  readonly address: string;
  /** Its place in the order in which connections and leases came to this host. */
  readonly arrival: number;
  readonly state: SessionState;
  readonly nowMs: number;
  readonly consumption: Consumption;
}

/** A request that waits until its session has been taken over. */
export interface HeldBack {
  readonly run: () => void;
  readonly refuse: (failure: Failure) => void;
}

/** One caller and all that it registered and subscribed: a WebSocket connection, or a lease of a caller over HTTP. */
export class Session {
  /** Another's, once it has taken that one over. */
  identity: SessionIdentity;
  /** Where the caller is, or was last. */
  readonly address: string;
  /** Its place in the order in which connections and leases came to this host. */
  readonly arrival: number;
  /** When it began, on the host's clock. */
  readonly createdAtMs: number;
  state: SessionState;
  opened: SessionOpenParams | undefined;
  /** Its grace is over, and what it registered is being withdrawn: nobody takes over a part of a session. */
  isGoing = false;
  /** It has asked for something before `session.open`. */
  hasAsked = false;
  /** Who its caller is, and what that may do; undefined: there is no access control. */
  grant: Grant | undefined;
  /** While it is found out who its caller is: what it asks for meanwhile. */
  heldUntilKnown: (() => void)[] | undefined;
  /** While it is taking another session over: requests about what that one has registered. */
  heldBack: HeldBack[] | undefined;
  /** When something was last heard from it, on the host's clock. */
  heardAtMs: number;
  /** Where it waits for its deadline: its place in the timer wheel; -1: nowhere. */
  wheelPlace = -1;
  requestsInFlight = 0;
  /** Of its frames, since the host's clock last moved; see `Intake`. */
  readBytes = 0;
  /** Batches of which not all is answered, and so nothing: what came of their requests is not known to the client yet. */
  openBatches = 0;
  readonly subscriptions: Map<string, Subscription> = new Map();
  /** Made when it first reads: nearly all calls of those that only register need none. */
  lane: CallLane | undefined;
  /** Frames of this turn, sent together at its end. */
  outgoing: string[] = [];
  readonly consumption: Consumption;
  /** An answer did not fit into its backlog: it is to be closed. */
  hasLostAnswer = false;
  #actor: Actor | undefined;

  constructor({ identity, address, arrival, state, nowMs, consumption }: SessionOptions) {
    this.identity = identity;
    this.address = address;
    this.arrival = arrival;
    this.createdAtMs = nowMs;
    this.consumption = consumption;
    this.state = state;
    this.heardAtMs = nowMs;
  }

  get number(): number {
    return this.identity.number;
  }

  get name(): string {
    return this.identity.name;
  }

  get secret(): string {
    return this.identity.secret;
  }

  get isConnection(): boolean {
    return this.identity.isConnection;
  }

  /** Who asks when it asks. */
  get actor(): Actor {
    const principal = this.grant?.principal.name ?? anonymous;
    // The same as long as it says the same: what it is encoded as is kept with it.
    if (this.#actor?.session !== this.name || this.#actor.principal !== principal)
      this.#actor = { principal, address: this.address, session: this.name };
    return this.#actor;
  }

  /** As its client says; of one that has not come back, as it said in the life before, or on another host. */
  get app(): string | undefined {
    return this.opened === undefined ? this.identity.app : this.opened.app;
  }

  /** It has what is persistent, and no caller. */
  get isPersistent(): boolean {
    return this.identity.number === persistentOwner;
  }

  get registrations(): SessionLog {
    return this.identity.registrations;
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

  /** Whether it may be sent what belongs to a capability. */
  understands(capability: Capability): boolean {
    return understands(this.opened, capability);
  }

  /** Sends a push behind what waits to be sent, which may be the answer that it must not overtake. */
  deliver(frame: string | Uint8Array): Delivery {
    if (this.outgoing.length > 0 && this.flush() === 'dropped') {
      this.hasLostAnswer = true;
      return 'dropped';
    }
    return this.push(frame);
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

/** A session's subscription to one service. */
export class Subscription implements Member {
  readonly session: Session;
  readonly key: string;
  readonly variant: Variant;
  version = 0;
  place = -1;
  /** Set while it is a member of one. */
  audience: Audience<Subscription> | undefined;
  #phase: SubscriptionPhase = 'starting';

  constructor(session: Session, key: string, variant: Variant) {
    this.session = session;
    this.key = key;
    this.variant = variant;
  }

  get phase(): SubscriptionPhase {
    return this.#phase;
  }

  get isLive(): boolean {
    return this.#phase === 'live';
  }

  get isWarming(): boolean {
    return this.#phase === 'warming' || this.#phase === 'warmingInBatch';
  }

  get unsentBytes(): number {
    return this.session.unsentBytes;
  }

  advance(event: SubscriptionEvent): void {
    this.#phase = nextPhase(this.#phase, event);
  }

  noteMissed(): void {
    this.advance('missed');
  }

  deliver(frame: string | Uint8Array): Delivery {
    return this.session.deliver(frame);
  }
}
