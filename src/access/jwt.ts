import { createHash } from 'node:crypto';

import { compactVerify, errors } from 'jose';

import type { JwtKeys } from './jwks.ts';
import { judgeClaims } from './jwt-claims.ts';
import type { ClaimRefusal, JwtPrincipal, JwtRules } from './jwt-claims.ts';
import { readJwtHeader } from './jwt-header.ts';
import type { HeaderRefusal, JwtHeader } from './jwt-header.ts';
import { JwtKeySource } from './jwt-key-source.ts';
import type { KeySourceOptions } from './jwt-key-source.ts';
import { parseObject } from './strict-json.ts';

/** Most tokens that are remembered as verified: sessions come back all at once. */
const verifiedMax = 10_000;

export interface JwtOptions extends JwtRules, KeySourceOptions {
  /** The wall clock, which tokens are dated by. */
  readonly readWallMs: () => number;
}

/** Why a token is refused: for the log and for metrics. Whoever sent it is told that it was, and no more. */
export interface JwtRefusal {
  readonly refused: HeaderRefusal | ClaimRefusal | 'keys_unavailable' | 'unknown_key' | 'signature';
}

/** Verifies JSON Web Tokens that an issuer has signed with one of its keys. */
export class JwtVerifier {
  readonly #options: JwtOptions;
  readonly #source: JwtKeySource;
  /** By the hash of the token. A secret that is not there cannot leak. */
  readonly #verified: Map<string, JwtPrincipal> = new Map();
  /** The keys that {@link #verified} was verified with. */
  #verifiedWith: JwtKeys | undefined;

  constructor(options: JwtOptions) {
    this.#options = options;
    this.#source = new JwtKeySource(options);
  }

  /** Loads the keys; resolves to how many there are. Without any, all tokens are refused until there are. */
  async start(): Promise<number> {
    await this.#source.load();
    return this.#source.keys?.count ?? 0;
  }

  tick(nowMs: number): void {
    this.#source.tick(nowMs);
  }

  /** Ends a request for keys that is on its way. */
  close(): void {
    this.#source.close();
  }

  /** Never rejects. Takes as long as the issuer if the token names a key that is not known, or none is, which is at most five seconds; unless it `mayWait` not. */
  async verify(token: string, mayWait = true): Promise<JwtPrincipal | JwtRefusal> {
    const header = readJwtHeader(token);
    if (typeof header === 'string') return { refused: header };
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.#recall(hash);
    if (known !== undefined) return known;
    if (mayWait && !this.#hasKey(header)) await this.#source.lookForMore();
    const { keys } = this.#source;
    if (keys === undefined) return { refused: 'keys_unavailable' };
    const payload = await this.#openToken(token, header, keys);
    if (typeof payload === 'string') return { refused: payload };
    const claims = parseObject(payload);
    if (claims === undefined) return { refused: 'malformed' };
    const verdict = judgeClaims(claims, this.#options, this.#options.readWallMs());
    if (typeof verdict === 'string') return { refused: verdict };
    this.#remember(hash, verdict, keys);
    return verdict;
  }

  /** A token that names none may be of any that is known. */
  #hasKey({ kid }: JwtHeader): boolean {
    const { keys } = this.#source;
    return keys !== undefined && (kid === undefined || keys.has(kid));
  }

  async #openToken(
    token: string,
    { algorithm }: JwtHeader,
    keys: JwtKeys,
  ): Promise<Uint8Array | 'unknown_key' | 'signature'> {
    try {
      const { payload } = await compactVerify(token, keys.find, { algorithms: [algorithm] });
      return payload;
    } catch (error) {
      const isUnknown = error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys;
      return isUnknown ? 'unknown_key' : 'signature';
    }
  }

  #recall(hash: string): JwtPrincipal | undefined {
    // A key that is gone was perhaps stolen.
    if (this.#verifiedWith !== this.#source.keys) this.#verified.clear();
    const known = this.#verified.get(hash);
    if (known === undefined) return undefined;
    this.#verified.delete(hash);
    if (known.expiresAtMs <= this.#options.readWallMs()) return undefined;
    this.#verified.set(hash, known);
    return known;
  }

  #remember(hash: string, principal: JwtPrincipal, keys: JwtKeys): void {
    // They have changed since it was verified.
    if (keys !== this.#source.keys) return;
    if (this.#verifiedWith !== keys) this.#verified.clear();
    this.#verifiedWith = keys;
    this.#verified.set(hash, principal);
    for (const oldest of this.#verified.keys()) {
      if (this.#verified.size <= verifiedMax) break;
      this.#verified.delete(oldest);
    }
  }
}
