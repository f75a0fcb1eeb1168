import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

import type { JwtKeysPlace } from '../config/jwt-keys.ts';
import { parseJwks } from './jwks.ts';
import type { JwtKeys } from './jwks.ts';

/** Largest JWK set, in bytes. */
const jwksBytesMax = 256 * 1024;
/** How long a URL has to answer, to its last byte. */
const fetchTimeoutMs = 5000;

/** How often keys are looked for: in the background, and when a token names a key that is not known. */
const pacings = {
  file: { refreshMs: 1000, retryMs: 1000, unknownKeyMs: 1000 },
  url: { refreshMs: 300_000, retryMs: 30_000, unknownKeyMs: 10_000 },
} as const;

/** What an operator should know: told when it changes. */
export type JwtKeysReport =
  | { readonly kind: 'loaded'; readonly count: number; readonly ignored: number }
  | { readonly kind: 'failed'; readonly reason: string };

export interface KeySourceOptions {
  readonly place: Exclude<JwtKeysPlace, { kind: 'useless' }>;
  readonly report: (report: JwtKeysReport) => void;
  /** Monotonic. */
  readonly readMs: () => number;
}

interface KeyBytes {
  readonly bytes: Uint8Array;
  /** Of a file. */
  readonly stamp: string | undefined;
}

/** The keys from a file or a URL, as they were when it could last be read: a registry whose issuer is away goes on with those that it knows. */
export class JwtKeySource {
  readonly #options: KeySourceOptions;
  readonly #closing: AbortController = new AbortController();
  #keys: JwtKeys | undefined;
  #loading: Promise<void> | undefined;
  #startedMs: number = -Infinity;
  #failure: string | undefined;
  /** What tells the file that was read last from a later one. */
  #stamp: string | undefined;
  #digest: string | undefined;

  constructor(options: KeySourceOptions) {
    this.#options = options;
  }

  get keys(): JwtKeys | undefined {
    return this.#keys;
  }

  /** Looks whether keys have changed, if it is time. */
  tick(nowMs: number): void {
    const { refreshMs, retryMs } = pacings[this.#options.place.kind];
    if (nowMs - this.#startedMs >= (this.#failure === undefined ? refreshMs : retryMs)) void this.load();
  }

  /** Resolves once it is known whether there are other keys; at once if somebody has asked a short while ago. */
  async lookForMore(): Promise<void> {
    const { unknownKeyMs } = pacings[this.#options.place.kind];
    // Names are chosen by whoever sends a token: they must not decide how often the issuer is asked.
    if (this.#loading === undefined && this.#options.readMs() - this.#startedMs < unknownKeyMs) return;
    await this.load();
  }

  /** Never rejects: what fails is reported. */
  load(): Promise<void> {
    this.#startedMs = this.#options.readMs();
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  close(): void {
    this.#closing.abort();
  }

  async #load(): Promise<void> {
    const { place, report } = this.#options;
    try {
      const source = place.kind === 'file' ? await this.#readFile(place.path) : await this.#fetch(place.url);
      const isNew = source !== undefined && (await this.#adopt(source));
      const keys = this.#keys;
      if (keys !== undefined && (isNew || this.#failure !== undefined))
        report({ kind: 'loaded', count: keys.count, ignored: keys.ignored });
      this.#failure = undefined;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Resolves to whether it is another set. */
  async #adopt({ bytes, stamp }: KeyBytes): Promise<boolean> {
    const digest = createHash('sha256').update(bytes).digest('hex');
    const isNew = digest !== this.#digest;
    if (isNew) {
      const keys = await parseJwks(bytes);
      if (keys === undefined) throw new Error('it is no JWK set');
      this.#keys = keys;
    }
    // Only now: what could not be used is read again.
    this.#digest = digest;
    this.#stamp = stamp;
    return isNew;
  }

  #fail(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const { message, cause } = error instanceof Error ? error : new Error(String(error));
    const reason = cause instanceof Error ? `${message}: ${cause.message}` : message;
    if (reason !== this.#failure) this.#options.report({ kind: 'failed', reason });
    this.#failure = reason;
  }

  /** `undefined`: it is the one that was read last. */
  async #readFile(path: string): Promise<KeyBytes | undefined> {
    const handle = await open(path);
    try {
      const { ino, size, mtimeNs, ctimeNs } = await handle.stat({ bigint: true });
      const stamp = [ino, size, mtimeNs, ctimeNs].join(' ');
      if (stamp === this.#stamp) return undefined;
      return { bytes: await collect(handle.createReadStream({ end: jwksBytesMax, autoClose: false })), stamp };
    } finally {
      await handle.close();
    }
  }

  async #fetch(url: string): Promise<KeyBytes> {
    const response = await fetch(url, {
      // Where it would lead to is not what was configured.
      redirect: 'error',
      headers: { Accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(fetchTimeoutMs)]),
    });
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel();
      throw new Error(`it answered with status ${response.status}`);
    }
    return { bytes: await collect(response.body), stamp: undefined };
  }
}

/** All of a stream, which ends if it is longer than a set may be. */
async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (size > jwksBytesMax) throw new Error(`it is larger than ${jwksBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
