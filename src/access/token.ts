import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** What tokens begin with, so that scanners for secrets find them: `slotcast_`, 16 digits that name the token, `_`, 64 secret ones; digits are hexadecimal. */
const tokenPattern = /^slotcast_([0-9a-f]{16})_([0-9a-f]{64})$/;
const idBytes = 8;
const secretBytes = 32;
export const tokenKeyBytes = 32;

export interface GeneratedToken {
  readonly id: string;
  /** To be shown once. */
  readonly token: string;
}

export function generateToken(): GeneratedToken {
  const id = randomBytes(idBytes).toString('hex');
  return { id, token: `slotcast_${id}_${randomBytes(secretBytes).toString('hex')}` };
}

/** The name of a token that is formed like one; undefined: it is none. */
export function readTokenId(token: string): string | undefined {
  return tokenPattern.exec(token)?.[1];
}

/** What is kept of a token: without the key nobody can tell whether a guess is right. */
export function hashToken(key: Uint8Array, token: string): string {
  return createHmac('sha256', key).update(token).digest('hex');
}

/** In a time that does not depend on where they differ. */
export function isHashOf(hash: string, key: Uint8Array, token: string): boolean {
  const [known, given] = [Buffer.from(hash, 'hex'), Buffer.from(hashToken(key, token), 'hex')];
  return known.length === given.length && timingSafeEqual(known, given);
}
