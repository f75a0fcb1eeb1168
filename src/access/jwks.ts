import { createLocalJWKSet, importJWK } from 'jose';
import type { CompactVerifyGetKey, JWK } from 'jose';

import { algorithmsOf } from './jwt-header.ts';
import { parseObject } from './strict-json.ts';

/** Most keys of a set. */
const keysMax = 100;
/** Shorter RSA keys are no longer safe. */
const rsaBitsMin = 2048;

/** Public keys that tokens may be signed with. */
export interface JwtKeys {
  readonly count: number;
  /** What the set contains besides: keys for encryption, secrets, keys that are broken. */
  readonly ignored: number;
  /** Whether a key has this name. */
  has(kid: string): boolean;
  /** The key that fits a token's header: its name, the kind of key, and what the key itself says that it is for. */
  readonly find: CompactVerifyGetKey;
}

/** Reads a JWK set; `undefined` if it is none. */
export async function parseJwks(bytes: Uint8Array): Promise<JwtKeys | undefined> {
  const set = parseObject(bytes);
  if (!Array.isArray(set?.['keys']) || set['keys'].length > keysMax) return undefined;
  const listed: unknown[] = set['keys'];
  const keys = await Promise.all(listed.map((key) => readKey(key)));
  const usable = keys.filter((key) => key !== undefined);
  const names = new Set(usable.map(({ kid }) => kid));
  return {
    count: usable.length,
    ignored: listed.length - usable.length,
    has: (kid) => names.has(kid),
    find: createLocalJWKSet({ keys: usable }),
  };
}

/** `undefined`: it is none to check tokens with. */
async function readKey(key: unknown): Promise<JWK | undefined> {
  if (typeof key !== 'object' || key === null) return undefined;
  const { use, kid } = key as Readonly<Record<string, unknown>>;
  const [algorithm] = algorithmsOf(key);
  if (algorithm === undefined || (use !== undefined && use !== 'sig')) return undefined;
  if (kid !== undefined && typeof kid !== 'string') return undefined;
  try {
    const imported = await importJWK(key, algorithm);
    // With a private key in it, anybody who can read the set can sign what he likes.
    if (imported instanceof Uint8Array || imported.type !== 'public') return undefined;
    const { modulusLength = rsaBitsMin } = imported.algorithm as { readonly modulusLength?: number };
    return modulusLength < rsaBitsMin ? undefined : key;
  } catch {
    // No key, whatever it says that it is.
    return undefined;
  }
}
