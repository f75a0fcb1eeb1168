/** Longer ones are none. */
const headerCharsMax = 16_384;

/** The secret in an `Authorization` header: that of `Bearer`, or the password of `Basic`, whose user name does not matter. Undefined: the header is neither. */
export function readAuthorization(header: string): string | undefined {
  if (header.length > headerCharsMax) return undefined;
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([\w.~+/=-]+) *$/.exec(header) ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return value;
    case 'basic': {
      const text = Buffer.from(value, 'base64').toString();
      const at = text.indexOf(':');
      return at < 0 || at === text.length - 1 ? undefined : text.slice(at + 1);
    }
    default:
      return undefined;
  }
}
