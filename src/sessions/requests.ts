import type { Failure } from '../protocol/errors.ts';
import { encodeInstance } from '../protocol/instance-encoding.ts';
import type { EncodedInstance } from '../protocol/instance-encoding.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { methodSchemas } from '../protocol/schemas.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { MethodName, Methods, RegisterParams, RequestId } from '../protocol/types.ts';
import { readPlainRegistration } from './plain-registration.ts';
import type { PlainRegistration } from './plain-registration.ts';
import { createValidator } from './validation.ts';
import type { Validate } from './validation.ts';

/** A request to register, its instance encoded. */
export interface RegisterCall {
  readonly method: 'instance.register';
  /** The service's key. */
  readonly key: string;
  readonly instance: EncodedInstance;
  /** The request itself, if the instance is to outlive its session. */
  readonly persistent?: RegisterParams;
}

type OtherMethodName = Exclude<MethodName, RegisterCall['method']>;

/** A request whose params have passed their schema. */
export type Call =
  | RegisterCall
  | { [M in OtherMethodName]: { readonly method: M; readonly params: Methods[M]['params'] } }[OtherMethodName];

/** One JSON-RPC message from a client. Without an id it is a notification: carried out, never answered. */
export type Incoming =
  | { readonly kind: 'call'; readonly id: RequestId | undefined; readonly call: Call }
  | { readonly kind: 'invalid'; readonly id: RequestId | undefined; readonly failure: Failure };

/** What a text frame holds. */
export type Frame =
  | { readonly kind: 'single'; readonly incoming: Incoming }
  | { readonly kind: 'batch'; readonly entries: readonly Incoming[] }
  | { readonly kind: 'unreadable'; readonly failure: Failure };

const validators: ReadonlyMap<string, Validate<unknown>> = new Map(
  Object.entries(methodSchemas).map(([method, { params }]) => [method, createValidator<unknown>(params)]),
);

/** Reads a frame; decides nothing. */
export function readFrame(text: string, batchEntriesMax: number): Frame {
  return readPlainFrame(text, batchEntriesMax) ?? readAnyFrame(text, batchEntriesMax);
}

/** Reads a frame of nothing but registrations, plainly written; undefined if it is something else. */
function readPlainFrame(text: string, batchEntriesMax: number): Frame | undefined {
  if (!text.startsWith('[')) {
    const registration = readPlainRegistration(text, 0);
    if (registration?.end !== text.length) return undefined;
    return { kind: 'single', incoming: toIncoming(registration) };
  }
  const entries: Incoming[] = [];
  for (let at = 1; entries.length < batchEntriesMax;) {
    const registration = readPlainRegistration(text, at);
    if (registration === undefined) return undefined;
    entries.push(toIncoming(registration));
    const { end } = registration;
    if (text[end] === ']') return end + 1 === text.length ? { kind: 'batch', entries } : undefined;
    if (text[end] !== ',') return undefined;
    at = end + 1;
  }
  return undefined;
}

export function toIncoming({ id, key, instance }: PlainRegistration): Incoming {
  return { kind: 'call', id, call: { method: 'instance.register', key, instance } };
}

function readAnyFrame(text: string, batchEntriesMax: number): Frame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'unreadable', failure: notJson };
  }
  if (!Array.isArray(value)) return { kind: 'single', incoming: readIncoming(value) };
  if (value.length === 0) return { kind: 'unreadable', failure: emptyBatch };
  if (value.length > batchEntriesMax) {
    return { kind: 'unreadable', failure: refuseEntries(`${value.length} entries`, batchEntriesMax) };
  }
  return { kind: 'batch', entries: value.map((entry) => readIncoming(entry)) };
}

export const notJson: Failure = { code: 'parse_error', message: 'the frame is not JSON' };
export const emptyBatch: Failure = { code: 'invalid_request', message: 'the batch is empty' };

export function refuseEntries(entries: string, max: number): Failure {
  const message = `the batch has ${entries}; batchEntriesMax is ${max}`;
  return { code: 'limit_exceeded', message, limit: 'batchEntriesMax', max };
}

/** An id that cannot be sent back. */
const unusable: unique symbol = Symbol('unusable id');

interface Envelope {
  readonly jsonrpc?: unknown;
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
}

/** Reads one request: its envelope, then its params by the method's schema. */
export function readIncoming(value: unknown): Incoming {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalid(null, 'a request is a JSON object');
  }
  const envelope: Envelope = value;
  const id = readId(envelope.id);
  if (id === unusable) {
    return invalid(
      null,
      `id must be a finite number, null, or a string of at most ${protocolLimits.requestIdCharsMax} characters`,
    );
  }
  if (envelope.jsonrpc !== '2.0') return invalid(id ?? null, 'jsonrpc must be "2.0"');
  if (typeof envelope.method !== 'string') return invalid(id ?? null, 'method must be a string');
  for (const field in envelope) {
    if (field !== 'jsonrpc' && field !== 'id' && field !== 'method' && field !== 'params') {
      return invalid(id ?? null, 'a request has jsonrpc, id, method and params, and nothing else');
    }
  }
  const validate = validators.get(envelope.method);
  if (validate === undefined) {
    return { kind: 'invalid', id, failure: { code: 'unknown_method', message: 'there is no such method' } };
  }
  const outcome = validate(envelope.params ?? {});
  if (!outcome.ok) return { kind: 'invalid', id, failure: outcome.failure };
  if (envelope.method === 'instance.register') {
    return { kind: 'call', id, call: encodeRegister(outcome.value as RegisterParams) };
  }
  // The validator was chosen by the method, so the params are that method's.
  return { kind: 'call', id, call: { method: envelope.method, params: outcome.value } as Call };
}

/** Params that have passed their schema. */
export function encodeRegister(params: RegisterParams): RegisterCall {
  const call = {
    method: 'instance.register',
    key: serviceKey(params),
    instance: encodeInstance(params.instance),
  } as const;
  return params.persistent === true ? { ...call, persistent: params } : call;
}

function readId(id: unknown): RequestId | undefined | typeof unusable {
  if (id === undefined || id === null) return id;
  if (typeof id === 'number') return Number.isFinite(id) ? id : unusable;
  if (typeof id === 'string') return id.length <= protocolLimits.requestIdCharsMax ? id : unusable;
  return unusable;
}

function invalid(id: RequestId, message: string): Incoming {
  return { kind: 'invalid', id, failure: { code: 'invalid_request', message } };
}
