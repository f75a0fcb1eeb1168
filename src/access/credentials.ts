/** What a caller shows: a secret, by whichever way it came. Never logged. */
export interface Credentials {
  readonly secret: string;
}

/** Longer ones are none. */
const headerCharsMax = 16_384;

/**
 * Reads an `Authorization` header: `Bearer SECRET`, or `Basic`, whose password is the secret, and whose user counts for nothing. Undefined: it is neither; without a header there is no
 * need to ask.
 */
export function readAuthorization(header: string): Credentials | undefined {
  if (header.length > headerCharsMax) return undefined;
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([\w.~+/=-]+) *$/.exec(header) ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return { secret: value };
    case 'basic': {
      const text = Buffer.from(value, 'base64').toString();
      const at = text.indexOf(':');
      return at < 0 || at === text.length - 1 ? undefined : { secret: text.slice(at + 1) };
    }
    default:
      return undefined;
  }
}
