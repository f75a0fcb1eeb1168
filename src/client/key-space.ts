import type {
  KeyChangeResult,
  KeyDeleteResult,
  KeyGetResult,
  KeyListResult,
  KeyTransactResult,
} from '../protocol/types.ts';
import type { Settlement, UserCall } from './effects.ts';
import { Election } from './election.ts';
import type { ElectOptions } from './election.ts';
import { OptionError } from './errors.ts';
import type { LockLoss } from './errors.ts';
import type { KeyRequest } from './exchange-requests.ts';
import {
  decodeEntry,
  decodeMeta,
  decodeTransaction,
  encodeFlags,
  encodeOperation,
  encodePut,
  encodeValue,
} from './key-codec.ts';
import type { KeyResult } from './key-results.ts';
import type {
  DeleteOptions,
  KeyChange,
  KeyDeletion,
  KeyEntry,
  KeyListOptions,
  KeyOperation,
  KeyPage,
  KeyTransaction,
  KeyValue,
  LockOptions,
  PutOptions,
} from './key-types.ts';
import type { Keys } from './keys.ts';
import { LockClaim } from './lock-entries.ts';
import { Lock } from './lock.ts';
import type { CallOptions } from './options.ts';
import type { SettlementOf } from './pending-calls.ts';

type KeyCall = Extract<UserCall, { kind: 'keys' | 'lock' | 'unlock' }>;

/** A call without its ticket, for each kind of call about keys. */
export type AskedOfKeys<C = KeyCall> = C extends KeyCall ? Omit<C, 'ticket' | 'timeoutMs'> : never;

/** What {@link KeySpace} needs of its client. */
export interface KeySpaceHost {
  ask<K extends Settlement['kind']>(call: AskedOfKeys, options: CallOptions): Promise<SettlementOf<K>>;
  /** How long to wait after the registry has refused a standing wish, in milliseconds. */
  readonly retryMs: number;
}

/** The keys of a registry, through its client. */
export class KeySpace implements Keys {
  readonly #host: KeySpaceHost;
  /** Those that are held, or are about to be. */
  readonly #locks: Map<LockClaim, { lock: Lock | undefined; loss: LockLoss | undefined }> = new Map();

  constructor(host: KeySpaceHost) {
    this.#host = host;
  }

  async get(key: string, options: CallOptions = {}): Promise<KeyEntry | undefined> {
    const { entry } = await this.#request<KeyGetResult>({ method: 'kv.get', params: { key } }, options);
    return entry === undefined ? undefined : decodeEntry(entry);
  }

  async put(key: string, value: KeyValue, { signal, timeoutMs, ...write }: PutOptions = {}): Promise<KeyChange> {
    const params = encodePut(key, value, write);
    const request = { method: 'kv.put', params } as const;
    const result = await this.#request<KeyChangeResult>(request, toCallOptions({ signal, timeoutMs }));
    if (!result.applied) return result;
    const { applied, version, entry } = result;
    if (entry === undefined) throw new Error('a put that was applied has an entry');
    return { applied, version, entry: decodeMeta(entry) };
  }

  async delete(key: string, { cas, ...options }: DeleteOptions = {}): Promise<KeyDeletion> {
    const params = { key, ...(cas === undefined ? {} : { cas }) };
    return await this.#request<KeyDeleteResult>({ method: 'kv.delete', params }, options);
  }

  async deletePrefix(prefix: string, options: CallOptions = {}): Promise<number> {
    const result = await this.#request<KeyDeleteResult>({ method: 'kv.delete', params: { prefix } }, options);
    return result.applied ? (result.deleted ?? 0) : 0;
  }

  async *list({ signal, timeoutMs, ...params }: KeyListOptions = {}): AsyncGenerator<KeyPage, void, undefined> {
    const options = toCallOptions({ signal, timeoutMs });
    for (let cursor: string | undefined; ;) {
      const request = {
        method: 'kv.list',
        params: { ...params, ...(cursor === undefined ? {} : { cursor }) },
      } as const;
      const page: KeyListResult = await this.#request<KeyListResult>(request, options);
      const { version, entries = [], keys = [] } = page;
      yield { version, entries: entries.map((entry) => decodeEntry(entry)), keys };
      ({ cursor } = page);
      if (cursor === undefined) return;
    }
  }

  async transact(operations: readonly KeyOperation[], options: CallOptions = {}): Promise<KeyTransaction> {
    const params = { operations: operations.map((operation) => encodeOperation(operation)) };
    return decodeTransaction(await this.#request<KeyTransactResult>({ method: 'kv.transact', params }, options));
  }

  async lock(key: string, options: LockOptions = {}): Promise<Lock> {
    const lock = await this.#lock(key, options, true);
    if (lock === undefined) throw new Error('a call that waits for a lock ends with it');
    return lock;
  }

  tryLock(key: string, options: LockOptions = {}): Promise<Lock | undefined> {
    return this.#lock(key, options, false);
  }

  elect(key: string, options: ElectOptions): Election {
    // Now, and not when the campaign begins.
    readTerms(key, options, true);
    const { retryMs } = this.#host;
    return new Election(key, options, { lock: (key, options) => this.lock(key, options), retryMs });
  }

  /** Called by the client. @internal */
  noteLost(claim: LockClaim, loss: LockLoss): void {
    const known = this.#locks.get(claim);
    if (known === undefined) return;
    known.loss = loss;
    this.#locks.delete(claim);
    known.lock?.lose(loss);
  }

  async #lock(key: string, options: LockOptions, isPatient: boolean): Promise<Lock | undefined> {
    const claim = new LockClaim(readTerms(key, options, isPatient));
    const known: { lock: Lock | undefined; loss: LockLoss | undefined } = { lock: undefined, loss: undefined };
    this.#locks.set(claim, known);
    let settled: SettlementOf<'locked' | 'lockRefused'>;
    try {
      settled = await this.#host.ask<'locked' | 'lockRefused'>({ kind: 'lock', claim }, toCallOptions(options));
    } catch (error) {
      this.#locks.delete(claim);
      throw error;
    }
    if (settled.kind === 'lockRefused') {
      this.#locks.delete(claim);
      return undefined;
    }
    const lock = new Lock(claim, settled.fence, {
      unlock: async (claim, options) => {
        this.#locks.delete(claim);
        await this.#host.ask<'released'>({ kind: 'unlock', claim }, options);
      },
    });
    known.lock = lock;
    // Lost between the machine's word and this turn.
    if (known.loss !== undefined) lock.lose(known.loss);
    return lock;
  }

  async #request<R extends KeyResult>(request: KeyRequest, options: CallOptions): Promise<R> {
    const { result } = await this.#host.ask<'keysAnswered'>({ kind: 'keys', request }, toCallOptions(options));
    // The machine has compared it with what the method promises.
    return result as R;
  }
}

function toCallOptions({ signal, timeoutMs }: { [O in keyof CallOptions]: CallOptions[O] | undefined }): CallOptions {
  return { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

/** Throws {@link OptionError}. */
function readTerms(key: string, options: LockOptions, isPatient: boolean): LockClaim['terms'] {
  const { value = '', flags = 0n, onEnd = 'release', lockDelayMs, lostAfterMs } = options;
  if (lostAfterMs !== undefined && !(Number.isFinite(lostAfterMs) && lostAfterMs >= 0)) {
    throw new OptionError('lostAfterMs', 'a number of milliseconds');
  }
  const content = { value: encodeValue(value), flags: encodeFlags(flags) };
  return { key, ...content, onEnd, lockDelayMs, lostAfterMs, isPatient };
}
