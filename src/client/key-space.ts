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
import { ConnectionLostError, OptionError, TimeoutError } from './errors.ts';
import type { LockLoss } from './errors.ts';
import type { KeyRequest } from './exchange-requests.ts';
import {
  decodeChange,
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
  WatchOptions,
} from './key-types.ts';
import { KeyWatch } from './key-watch.ts';
import type { Keys } from './keys.ts';
import { LockClaim } from './lock-entries.ts';
import { Lock } from './lock.ts';
import type { CallOptions } from './options.ts';
import type { SettlementOf } from './pending-calls.ts';
import type { KeyNews, Watcher } from './watch-entries.ts';

type KeyCall = Extract<UserCall, { kind: 'keys' | 'lock' | 'unlock' | 'watchKeys' }>;

/** A call without its ticket, for each kind of call about keys. */
export type AskedOfKeys<C = KeyCall> = C extends KeyCall ? Omit<C, 'ticket' | 'timeoutMs'> : never;

/** What {@link KeySpace} needs of its client. */
export interface KeySpaceHost {
  ask<K extends Settlement['kind']>(call: AskedOfKeys, options: CallOptions): Promise<SettlementOf<K>>;
  unwatch(watcher: Watcher): void;
  /** How long to wait after the registry has refused a standing wish, in milliseconds. */
  readonly retryMs: number;
}

/** The keys of a registry, through its client. */
export class KeySpace implements Keys {
  readonly #host: KeySpaceHost;
  /** Those that are held, or are about to be. */
  readonly #locks: Map<LockClaim, { lock: Lock | undefined; loss: LockLoss | undefined }> = new Map();

  readonly #watches: Map<Watcher, KeyWatch> = new Map();

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

  async watch(target: string | { readonly prefix: string }, options: WatchOptions = {}): Promise<KeyWatch> {
    const { version } = options;
    const call = {
      kind: 'watchKeys',
      target: typeof target === 'string' ? { key: target } : { prefix: target.prefix },
      version,
    } as const;
    const { watcher } = await this.#host.ask<'watching'>(call, toCallOptions(options));
    return this.#findOrCreateWatch(watcher);
  }

  async *follow(key: string, options: CallOptions = {}): AsyncGenerator<KeyEntry | undefined, void, undefined> {
    const { signal } = options;
    const watch = await this.watch(key, options);
    const end = (): void => {
      watch.close();
    };
    try {
      signal?.throwIfAborted();
      signal?.addEventListener('abort', end, { once: true });
      let known = await this.#read(key, options);
      yield known.entry;
      for await (const event of watch) {
        if (event.kind === 'resync') known = await this.#read(key, options);
        else {
          const last = event.updates.at(-1);
          // A read may be ahead of what is told.
          if (last === undefined || last.modifyVersion <= known.version) continue;
          known = { version: last.modifyVersion, entry: last.entry };
        }
        yield known.entry;
      }
    } finally {
      signal?.removeEventListener('abort', end);
      watch.close();
    }
  }

  async lock(key: string, options: LockOptions = {}): Promise<Lock> {
    const lock = await this.#lock(key, options, true);
    if (lock === undefined) throw new Error('a call that waits for a lock ends with it');
    return lock;
  }

  tryLock(key: string, options: LockOptions = {}): Promise<Lock | undefined> {
    return this.#lock(key, options, false);
  }

  elect(key: string, options: ElectOptions = {}): Election {
    // Now, and not when the campaign begins.
    readTerms(key, options, true);
    const { retryMs } = this.#host;
    return new Election(key, options, {
      lock: (key, options) => this.lock(key, options),
      follow: (key, signal) => this.follow(key, { signal }),
      retryMs,
    });
  }

  /** Called by the client. @internal */
  noteLost(claim: LockClaim, loss: LockLoss): void {
    const known = this.#locks.get(claim);
    if (known === undefined) return;
    known.loss = loss;
    this.#locks.delete(claim);
    known.lock?.lose(loss);
  }

  /** Called by the client. @internal */
  noteNews(watcher: Watcher, { version, changes }: KeyNews): void {
    this.#findOrCreateWatch(watcher).add(
      version,
      changes?.map((change) => decodeChange(change)),
    );
  }

  /** Called by the client when it is itself closed. @internal */
  end(): void {
    for (const watch of this.#watches.values()) watch.end();
    this.#watches.clear();
  }

  /** News may come before the call that waits for the watch goes on. */
  #findOrCreateWatch(watcher: Watcher): KeyWatch {
    const known = this.#watches.get(watcher);
    if (known !== undefined) return known;
    const watch = new KeyWatch({
      readVersion: () => watcher.version ?? 0,
      close: () => {
        this.#watches.delete(watcher);
        this.#host.unwatch(watcher);
      },
    });
    this.#watches.set(watcher, watch);
    return watch;
  }

  /** A key, and what it is known through: the later one of what it was read at and changed at. Tried again as long as the connection is away. */
  async #read(key: string, options: CallOptions): Promise<{ version: number; entry: KeyEntry | undefined }> {
    for (;;) {
      try {
        const { version, entry } = await this.#request<KeyGetResult>({ method: 'kv.get', params: { key } }, options);
        const shown = Math.max(version, entry?.modifyVersion ?? 0);
        return { version: shown, entry: entry === undefined ? undefined : decodeEntry(entry) };
      } catch (error) {
        if (!(error instanceof TimeoutError || error instanceof ConnectionLostError)) throw error;
      }
    }
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
