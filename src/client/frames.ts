import { errorCodes } from '../protocol/errors.ts';
import type { ErrorCode, Failure } from '../protocol/errors.ts';
import type {
  GoawayParams,
  Instance,
  InstanceClaim,
  InstanceInput,
  KeysChanged,
  MethodName,
  Methods,
  ServiceChanged,
  RegistrationsResult,
  ServiceName,
  SubscribeResult,
  WireLimits,
  SessionOpenResult,
} from '../protocol/types.ts';
import { isKeysChanged } from './key-results.ts';

/** One message from the server. `unknown` is what a later server may say; it is ignored. */
export type Message =
  | { readonly kind: 'result'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly failure: Failure }
  | { readonly kind: 'changed'; readonly change: ServiceChanged }
  | { readonly kind: 'goaway'; readonly params: GoawayParams }
  | { readonly kind: 'keysChanged'; readonly change: KeysChanged }
  | { readonly kind: 'claim'; readonly claim: InstanceClaim }
  | { readonly kind: 'unknown' };

type Fields = Readonly<Record<string, unknown>>;

/** Reads a frame of the server; undefined when it is not JSON. A batch's answers come as one frame. */
export function readMessages(text: string): readonly Message[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return Array.isArray(value) ? value.map((entry) => readMessage(entry)) : [readMessage(value)];
}

function readMessage(value: unknown): Message {
  if (!isFields(value)) return { kind: 'unknown' };
  if (value['method'] === 'service.changed' && isChange(value['params'])) {
    return { kind: 'changed', change: value['params'] };
  }
  if (value['method'] === 'kv.changed' && isKeysChanged(value['params'])) {
    return { kind: 'keysChanged', change: value['params'] };
  }
  if (value['method'] === 'instance.claim' && isClaim(value['params']))
    return { kind: 'claim', claim: value['params'] };
  if (value['method'] === 'session.goaway') {
    const params = isFields(value['params']) ? value['params'] : {};
    const { reason, reconnectAfterMs } = params;
    return {
      kind: 'goaway',
      params: { reason: typeof reason === 'string' ? reason : '', reconnectAfterMs: readMs(reconnectAfterMs) ?? 0 },
    };
  }
  const { id, error, result } = value;
  if (typeof id !== 'number') return { kind: 'unknown' };
  if (error !== undefined) return { kind: 'error', id, failure: readFailure(error) };
  return result === undefined ? { kind: 'unknown' } : { kind: 'result', id, result };
}

function readFailure(error: unknown): Failure {
  if (!isFields(error)) return { code: 'internal', message: 'the server sent an error without content' };
  const { field, limit, max, retryAfterMs } = isFields(error['data']) ? error['data'] : {};
  const wait = readMs(retryAfterMs);
  return {
    code: readCode(error),
    message: typeof error['message'] === 'string' ? error['message'] : 'the server gave no reason',
    ...(typeof field === 'string' ? { field } : {}),
    ...(typeof limit === 'string' ? { limit } : {}),
    ...(typeof max === 'number' ? { max } : {}),
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  };
}

function readCode(error: Fields): ErrorCode {
  const code = isFields(error['data']) ? error['data']['code'] : undefined;
  if (typeof code === 'string' && Object.hasOwn(errorCodes, code)) return code as ErrorCode;
  const named = Object.entries(errorCodes).find(([, { number }]) => number === error['code']);
  return named === undefined ? 'internal' : (named[0] as ErrorCode);
}

function readMs(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value) ? value : undefined;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isInstances(value: unknown): value is readonly Instance[] {
  return Array.isArray(value) && value.every(isInstance);
}

function isInstance(value: unknown): value is Instance {
  if (!isFields(value) || typeof value['id'] !== 'string') return false;
  return value['metadata'] === undefined || isFields(value['metadata']);
}

function isNamed(value: unknown): value is Fields & ServiceName {
  if (!isFields(value)) return false;
  return ['namespace', 'group', 'service'].every((name) => typeof value[name] === 'string');
}

function isClaim(value: unknown): value is InstanceClaim {
  return isNamed(value) && typeof value['id'] === 'string' && typeof value['shown'] === 'boolean';
}

export function isRegistrationsResult(value: unknown): value is RegistrationsResult {
  if (!isFields(value) || !Array.isArray(value['registrations'])) return false;
  if (value['cursor'] !== undefined && typeof value['cursor'] !== 'string') return false;
  return value['registrations'].every(
    (each: unknown) => isNamed(each) && typeof each['id'] === 'string' && typeof each['hash'] === 'string',
  );
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}

function isChange(value: unknown): value is ServiceChanged {
  if (!isNamed(value) || typeof value['to'] !== 'number' || typeof value['count'] !== 'number') return false;
  if (value['snapshot'] === true) return isInstances(value['instances']);
  return typeof value['from'] === 'number' && isInstances(value['put']) && isStrings(value['remove']);
}

/** Whether a result is what the method promises, as far as the client relies on it. */
export function isSubscribeResult(value: unknown): value is SubscribeResult {
  if (!isFields(value) || typeof value['version'] !== 'number') return false;
  return 'from' in value ? isInstances(value['put']) && isStrings(value['remove']) : isInstances(value['instances']);
}

export function isVersioned(value: unknown): value is { readonly version: number; readonly weight?: unknown } {
  return isFields(value) && typeof value['version'] === 'number';
}

/** What a server said to `session.open`. Servers of the first edition leave out what came later. */
export type Opened = Pick<SessionOpenResult, 'session' | 'limits'> & Partial<SessionOpenResult>;

/** Servers of the first edition say no more than this. */
export function isOpenResult(value: unknown): value is Opened {
  if (!isFields(value) || typeof value['session'] !== 'string' || !isLimits(value['limits'])) return false;
  const { secret, registry, resumed, protocol, capabilities } = value;
  if (secret !== undefined && typeof secret !== 'string') return false;
  if (registry !== undefined && typeof registry !== 'string') return false;
  if (protocol !== undefined && typeof protocol !== 'number') return false;
  if (capabilities !== undefined && !isStrings(capabilities)) return false;
  if (resumed === undefined) return true;
  return isFields(resumed) && typeof resumed['registrations'] === 'number' && typeof resumed['digest'] === 'string';
}

function isLimits(value: unknown): value is WireLimits {
  const names = ['frameBytesMax', 'batchEntriesMax', 'requestsInFlightMax', 'registrationsMax', 'subscriptionsMax'];
  return isFields(value) && names.every((name) => typeof value[name] === 'number' && value[name] >= 1);
}

/** The text of one request. */
export function encodeRequest<M extends MethodName>(id: number, method: M, params: Methods[M]['params']): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params });
}

/** The text of a registration, its fields in the protocol's order: servers read that fastest. What the protocol does not know is theirs to refuse. */
export function encodeRegister(requestId: number, service: ServiceName, instance: InstanceInput): string {
  const { id, host, port, weight, enabled, zone, metadata, ...others } = instance;
  const { namespace, group, service: name } = service;
  // Undefined is left out.
  const ordered = { id, host, port, weight, enabled, zone, metadata, ...others };
  const params = { namespace, group, service: name, instance: ordered };
  return JSON.stringify({ jsonrpc: '2.0', id: requestId, method: 'instance.register', params });
}

/** Bytes of `text` as UTF-8. A text is all ASCII so often that it is worth asking first whether the bound can matter. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // Each half of a surrogate pair counts two: four bytes together.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}
