import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { methodSchemas } from '../protocol/schemas.ts';
import type { MethodName, Methods, RequestId } from '../protocol/types.ts';
import { compileValidator } from './validation.ts';
import type { Validate } from './validation.ts';

/** A request whose params have passed their schema. */
export type Call = { [M in MethodName]: { readonly method: M; readonly params: Methods[M]['params'] } }[MethodName];

/** One JSON-RPC message from a client. Without an id it is a notification: carried out, never answered. */
export type Incoming =
  | { readonly kind: 'call'; readonly id: RequestId | undefined; readonly call: Call }
  | { readonly kind: 'invalid'; readonly id: RequestId | undefined; readonly failure: Failure };

/** What a text frame holds. */
export type Frame =
  | { readonly kind: 'single'; readonly incoming: Incoming }
  | { readonly kind: 'batch'; readonly entries: readonly unknown[] }
  | { readonly kind: 'unreadable'; readonly failure: Failure };

const validators: ReadonlyMap<string, Validate<unknown>> = new Map(
  Object.entries(methodSchemas).map(([method, { params }]) => [method, compileValidator<unknown>(params)]),
);

/** Reads a frame; decides nothing. A batch's entries are read one by one with {@link readIncoming}. */
export function readFrame(text: string, batchEntriesMax: number): Frame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'unreadable', failure: { code: 'parse_error', message: 'the frame is not JSON' } };
  }
  if (!Array.isArray(value)) return { kind: 'single', incoming: readIncoming(value) };
  if (value.length === 0) {
    return { kind: 'unreadable', failure: { code: 'invalid_request', message: 'the batch is empty' } };
  }
  if (value.length > batchEntriesMax) {
    const message = `the batch has ${value.length} entries; batchEntriesMax is ${batchEntriesMax}`;
    return {
      kind: 'unreadable',
      failure: { code: 'limit_exceeded', message, limit: 'batchEntriesMax', max: batchEntriesMax },
    };
  }
  return { kind: 'batch', entries: value };
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
  // The validator was chosen by the method, so the params are that method's.
  return { kind: 'call', id, call: { method: envelope.method, params: outcome.value } as Call };
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
