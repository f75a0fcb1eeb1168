import type { Socket } from '../transport/transport.ts';

interface Connected {
  readonly kind: 'connected';
  readonly socket: Socket;
}
/** Of a caller over HTTP. */
interface Leased {
  readonly kind: 'leased';
  readonly lease: string;
  expiresAtMs: number;
  readonly ttlMs: number;
}
/** Of no caller: what it registered stays until somebody says otherwise. */
interface Persistent {
  readonly kind: 'persistent';
}
/** The connection broke: what it registered is kept for the grace, until `removeAtMs`. */
interface Broken {
  readonly kind: 'broken';
  readonly removeAtMs: number;
}
/** It began in the life before of the process, and nobody has come back for it: what it registered is kept until earlier clients have had their time. */
interface Unconfirmed {
  readonly kind: 'unconfirmed';
}
/** The grace is over, and a guard holds back the removal of what it registered. */
interface Held {
  readonly kind: 'held';
}
/** On its way to another host, or from one; nobody may take it over until it is there. */
interface Moving {
  readonly kind: 'moving';
}
/** Another connection has taken it over, here or on another host: nothing that still comes here counts (SE8). */
interface Resumed {
  readonly kind: 'resumed';
}
interface Ended {
  readonly kind: 'ended';
}

/** Where a session stands. */
export type SessionState = Connected | Leased | Persistent | Broken | Unconfirmed | Held | Moving | Resumed | Ended;

export type LifecycleEvent =
  /** It was closed in order, its lease is over, or nothing of it is left: what it registered goes. */
  | { readonly kind: 'ended' }
  /** Its connection broke. */
  | { readonly kind: 'broke'; readonly removeAtMs: number }
  /** It is through with moving, or earlier clients have had their time: it waits for a connection as if its own had just broken. */
  | { readonly kind: 'landed'; readonly removeAtMs: number }
  /** It has been judged after its grace, and not all that it registered may go. */
  | { readonly kind: 'heldBack' }
  /** Another connection continues with what it had, here or on another host. */
  | { readonly kind: 'takenOver' };

type Transitions = {
  readonly [S in SessionState as S['kind']]: {
    readonly [E in LifecycleEvent as E['kind']]: (state: S, event: E) => SessionState;
  };
};

const stay = (state: SessionState): SessionState => state;
const end = (): SessionState => ({ kind: 'ended' });
const giveAway = (): SessionState => ({ kind: 'resumed' });
const keepForGrace = (_state: SessionState, { removeAtMs }: { readonly removeAtMs: number }): SessionState => ({
  kind: 'broken',
  removeAtMs,
});

/** Every state with every event; a missing cell does not compile. */
const transitions: Transitions = {
  connected: { ended: end, broke: keepForGrace, landed: stay, heldBack: stay, takenOver: giveAway },
  // A lease has no connection that could break or be taken over.
  leased: { ended: end, broke: stay, landed: stay, heldBack: stay, takenOver: stay },
  // It ends with the process.
  persistent: { ended: stay, broke: stay, landed: stay, heldBack: stay, takenOver: stay },
  broken: { ended: end, broke: stay, landed: stay, heldBack: () => ({ kind: 'held' }), takenOver: giveAway },
  unconfirmed: { ended: end, broke: stay, landed: keepForGrace, heldBack: stay, takenOver: giveAway },
  held: { ended: end, broke: stay, landed: stay, heldBack: stay, takenOver: giveAway },
  moving: { ended: end, broke: stay, landed: keepForGrace, heldBack: stay, takenOver: giveAway },
  // What it had is another's, or gone.
  resumed: { ended: stay, broke: stay, landed: stay, heldBack: stay, takenOver: stay },
  ended: { ended: stay, broke: stay, landed: stay, heldBack: stay, takenOver: stay },
};

/** The state that follows: the same one if nothing changes. */
export function nextState(state: SessionState, event: LifecycleEvent): SessionState {
  // The table has been checked cell by cell; TypeScript cannot tell that this is the cell of both.
  const cell = transitions[state.kind][event.kind] as (state: SessionState, event: LifecycleEvent) => SessionState;
  return cell(state, event);
}
