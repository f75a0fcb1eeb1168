import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const radix = 36;

/** What a caller has to know to take its session over. The number says where to look, the rest, `name`, cannot be guessed. */
export function createSecret(number: number, name: string): string {
  return `${number.toString(radix)}-${name}`;
}

/** The number of the session that a secret belongs to; not a number if it cannot be one. */
export function readSecretNumber(secret: string): number {
  const [digits = ''] = secret.split('-', 1);
  return /^[0-9a-z]{1,10}$/.test(digits) ? Number.parseInt(digits, radix) : Number.NaN;
}

/** A name, written as a UUID, of who knows a secret; it does not help to guess that. */
export function nameHolder(secret: string): string {
  const digits = createHash('sha256').update(`holder of ${secret}`).digest('hex');
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20, 32),
  ].join('-');
}

/** Takes as long however much of it is right. */
export function isSameSecret(known: string, given: string): boolean {
  const [a, b] = [Buffer.from(known), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** A name that cannot be guessed. */
export function createName(): string {
  return randomBytes(16).toString('base64url');
}
