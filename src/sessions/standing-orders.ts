import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import { disabledMark, noMark, offMark } from '../store/instance-mark.ts';
import type { InstanceMark } from '../store/instance-mark.ts';
import type { NamespaceLimit } from './namespace-limits.ts';
import type { Call } from './requests.ts';

/** Clients that an operator means: exactly one field is given. */
export interface ClientSelector {
  /** From where it is connected. */
  readonly address?: string;
  /** As it said when it opened its session. */
  readonly app?: string;
  /** The name of its session. */
  readonly session?: string;
}

/** Refused at the door, with a reason: clients, or what concerns a service. */
export interface Quarantine extends Pick<ClientSelector, 'address' | 'app'> {
  /** The service's key. */
  readonly key?: string;
  readonly reason?: string;
}

/** What operators have ordered for sessions and what they register: every thread that holds sessions knows it all. */
export interface Orders {
  /** Nothing is registered or stored. */
  readonly isReadOnly: boolean;
  /** Whose registrations do not show. */
  readonly off: readonly ClientSelector[];
  /** Hosts whose instances lose their weight, and how far that has come. */
  readonly drained: readonly { readonly host: string; readonly mark: InstanceMark }[];
  /** Of which services nothing is pushed: keys, namespaces with a slash behind them, or an empty text, which stands for all. */
  readonly frozen: readonly string[];
  readonly quarantined: readonly Quarantine[];
  readonly limits: readonly NamespaceLimit[];
}

export const noOrders: Orders = { isReadOnly: false, off: [], drained: [], frozen: [], quarantined: [], limits: [] };

/** A caller, as far as orders concern it. */
export interface Caller {
  readonly name: string;
  readonly address: string;
  readonly app: string | undefined;
}

/** How long callers are asked to wait, in milliseconds. */
const retryMs = 5000;

/** What operators have ordered, on each thread that holds sessions. */
export class StandingOrders {
  #orders: Orders = noOrders;
  #frozen: ReadonlySet<string> = new Set();

  get present(): Orders {
    return this.#orders;
  }

  set(orders: Orders): void {
    this.#orders = orders;
    this.#frozen = new Set(orders.frozen);
  }

  get isReadOnly(): boolean {
    return this.#orders.isReadOnly;
  }

  /** Whether nothing of a service is pushed. */
  isFrozen(key: string): boolean {
    return this.#frozen.size > 0 && isAmong(this.#frozen, key);
  }

  /** Why a call is not carried out; `session` undefined: it is of nobody. What ends by itself ends, and so may what its owner takes back. */
  refuse(call: Call, session: Caller | undefined): Failure | undefined {
    if (this.isReadOnly && isChange(call)) return readOnly;
    const { quarantined } = this.#orders;
    return quarantined.length === 0 ? undefined : this.#refuseQuarantined(call, session);
  }

  /** Why a caller is to go. */
  refuseCaller(caller: Caller): Failure | undefined {
    const order = this.#orders.quarantined.find((each) => isMeant(each, caller));
    return order === undefined ? undefined : refuseQuarantined('the caller', order);
  }

  #refuseQuarantined(call: Call, session: Caller | undefined): Failure | undefined {
    const refusal = session === undefined || isTakenBack(call) ? undefined : this.refuseCaller(session);
    if (refusal !== undefined) return refusal;
    const key = keyOf(call);
    const order = key === undefined ? undefined : this.#orders.quarantined.find((each) => each.key === key);
    return order === undefined ? undefined : refuseQuarantined('the service', order);
  }
}

/** The mark that orders give an instance of a session. */
export function markBy({ off, drained }: Orders, session: Caller, fragment: string): InstanceMark {
  if (off.some((selector) => isMeant(selector, session))) return offMark;
  if (drained.length === 0) return noMark;
  let least = noMark;
  for (const { host, mark } of drained) {
    if (readHost(fragment) === host && (least === noMark || isLess(mark, least))) least = mark;
  }
  return least;
}

/** Services of which nothing was pushed before, and may be now. */
export function isThawed(before: Orders, after: Orders): (key: string) => boolean {
  const [was, is] = [new Set(before.frozen), new Set(after.frozen)];
  return (key) => isAmong(was, key) && !isAmong(is, key);
}

export const readOnly: Failure = {
  code: 'read_only',
  message: 'an operator has made the registry read-only',
  retryAfterMs: retryMs,
};

function refuseQuarantined(what: string, { reason }: Quarantine): Failure {
  const why = reason === undefined ? '' : `: ${reason}`;
  return { code: 'quarantined', message: `an operator has quarantined ${what}${why}` };
}

function isMeant({ address, app, session }: ClientSelector, caller: Caller): boolean {
  if (address !== undefined) return caller.address === address;
  if (app !== undefined) return caller.app === app;
  return session !== undefined && caller.name === session;
}

function isAmong(frozen: ReadonlySet<string>, key: string): boolean {
  return frozen.has('') || frozen.has(key) || frozen.has(key.slice(0, key.indexOf('/') + 1));
}

function isLess(mark: InstanceMark, other: InstanceMark): boolean {
  return mark === disabledMark || (other !== disabledMark && mark < other);
}

const hostName = ',"host":';

/** Where an instance lives. */
function readHost(fragment: string): unknown {
  // Within a text a quote is escaped, so the first of these is the field.
  const start = fragment.indexOf(hostName) + hostName.length;
  return JSON.parse(fragment.slice(start, fragment.indexOf(',"port":', start)));
}

/** What a caller may do although it is quarantined: it takes nothing, and adds nothing. */
function isTakenBack({ method }: Call): boolean {
  return method === 'instance.deregister' || method === 'service.unsubscribe' || method === 'kv.unwatch';
}

/** The service that a call is about, if somebody would learn or add something by it. */
function keyOf(call: Call): string | undefined {
  switch (call.method) {
    case 'instance.register':
      return call.key;
    case 'service.query':
    case 'service.subscribe':
      return serviceKey(call.params);
    default:
      return undefined;
  }
}

function isChange(call: Call): boolean {
  switch (call.method) {
    case 'instance.register':
    case 'kv.put':
    case 'kv.delete':
      return true;
    case 'kv.transact':
      return call.params.operations.some(({ op }) => op === 'put' || op === 'delete');
    default:
      return false;
  }
}
