import type { ClientEffect, ClientEvent, Notice, Settlement, UserCall } from '../../src/client/effects.ts';
import type { Ticket } from '../../src/client/entries.ts';
import type { FilteredView } from '../../src/client/entries.ts';
import type { SlotcastError } from '../../src/client/errors.ts';
import { createClientState, stepClient } from '../../src/client/machine.ts';
import { resolveOptions } from '../../src/client/options.ts';
import type { ClientOptions, Settings } from '../../src/client/options.ts';
import type { ClientState } from '../../src/client/step.ts';

export type Outcome =
  | { readonly kind: 'resolved'; readonly settlement: Settlement }
  | { readonly kind: 'rejected'; readonly error: SlotcastError };

type Asked<C = UserCall> = C extends UserCall ? Omit<C, 'ticket'> : never;

/** The shell with everything but the decisions taken out: a clock that is set, sockets that are numbers, effects that are kept. */
export class SimulatedShell {
  readonly settings: Settings;
  readonly outcomes: Map<Ticket, Outcome> = new Map();
  readonly notices: Notice[] = [];
  readonly sent: { readonly socket: number; readonly text: string }[] = [];
  /** Called for every effect, in order. */
  onEffect: (effect: ClientEffect) => void = () => undefined;
  random: () => number = () => 0.5;
  nowMs = 0;
  armedAtMs: number | undefined;
  isFlushAsked = false;
  #state: ClientState = createClientState();
  #nextTicket: Ticket = 1;

  constructor(options: Partial<ClientOptions> = {}) {
    this.settings = resolveOptions({ servers: ['ws://a', 'ws://b'], ...options });
  }

  get state(): ClientState {
    return this.#state;
  }

  get ticketsGiven(): number {
    return this.#nextTicket - 1;
  }

  dispatch(event: ClientEvent): readonly ClientEffect[] {
    const inputs = { nowMs: this.nowMs, random: this.random(), settings: this.settings };
    const { state, effects } = stepClient(this.#state, event, inputs);
    this.#state = state;
    for (const effect of effects) this.#run(effect);
    return effects;
  }

  call(call: Asked): Ticket {
    const ticket = this.#nextTicket++;
    this.dispatch({ ...call, ticket });
    return ticket;
  }

  flush(): void {
    if (!this.isFlushAsked) return;
    this.isFlushAsked = false;
    this.dispatch({ kind: 'flush' });
  }

  /** Moves the clock, with every tick on the way. */
  advance(ms: number): void {
    const until = this.nowMs + ms;
    while (this.armedAtMs !== undefined && this.armedAtMs <= until) {
      this.nowMs = Math.max(this.nowMs, this.armedAtMs);
      this.armedAtMs = undefined;
      this.dispatch({ kind: 'tick' });
    }
    this.nowMs = until;
  }

  release(subscription: FilteredView): void {
    this.dispatch({ kind: 'release', subscription });
  }

  #run(effect: ClientEffect): void {
    switch (effect.kind) {
      case 'arm':
        this.armedAtMs = effect.atMs;
        break;
      case 'flushSoon':
        this.isFlushAsked = true;
        break;
      case 'resolve':
        this.#settle(effect.ticket, { kind: 'resolved', settlement: effect.settlement });
        break;
      case 'reject':
        this.#settle(effect.ticket, { kind: 'rejected', error: effect.error });
        break;
      case 'notify':
        this.notices.push(effect.notice);
        break;
      case 'send':
        this.sent.push({ socket: effect.socket, text: effect.text });
        break;
      case 'askToken':
      case 'openSocket':
      case 'closeSocket':
      case 'changed':
      case 'freshness':
      case 'lockLost':
      case 'keysChanged':
      case 'loadList':
      case 'saveList':
      case 'closed':
        break;
      default:
        effect satisfies never;
    }
    this.onEffect(effect);
  }

  #settle(ticket: Ticket, outcome: Outcome): void {
    if (this.outcomes.has(ticket)) throw new Error(`ticket ${ticket} was settled twice`);
    this.outcomes.set(ticket, outcome);
  }
}
