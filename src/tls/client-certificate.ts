import type { X509Certificate } from 'node:crypto';

import type { ServerConfig } from '../config/config.ts';

/** What a client's certificate says, once it has been verified. */
export interface ClientCertificate {
  /** Whom it names. */
  readonly principal: string;
  /** SHA-256 of the certificate, 64 hexadecimal digits. */
  readonly fingerprint: string;
  /** When it ends, in milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

export type PrincipalRule = ServerConfig['tlsPrincipal'];

const nameCharactersMax = 255;

/**
 * Whom a certificate names by the rule: exactly one name of that kind. What is ambiguous, empty, too long, or holds what cannot be told apart when it is read, names
 * nobody.
 */
export function readClientCertificate(
  certificate: X509Certificate,
  rule: PrincipalRule,
): ClientCertificate | undefined {
  const [principal, ...others] = readNames(certificate, rule);
  if (principal === undefined || others.length > 0) return undefined;
  const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
  return { principal, fingerprint, expiresAtMs: Date.parse(certificate.validTo) };
}

function readNames(certificate: X509Certificate, rule: PrincipalRule): readonly string[] {
  switch (rule) {
    case 'cn': {
      // Of a name that is there several times it makes a list.
      const { CN: names } = certificate.toLegacyObject().subject as { readonly CN?: string | readonly string[] };
      return typeof names === 'string' && isPlain(names) ? [names] : [];
    }
    case 'san-uri':
      return readAlternativeNames(certificate, 'URI:');
    case 'san-dns':
      return readAlternativeNames(certificate, 'DNS:').map((name) => name.toLowerCase());
    default:
      rule satisfies never;
      return [];
  }
}

/** Node puts names with characters that could be taken for the end of a name in quotes. Such a list is not read at all: nobody needs them. */
function readAlternativeNames({ subjectAltName = '' }: X509Certificate, kind: string): readonly string[] {
  if (subjectAltName.includes('"')) return [];
  const names = subjectAltName
    .split(', ')
    .filter((name) => name.startsWith(kind))
    .map((name) => name.slice(kind.length));
  return names.every((name) => /^[!-~]+$/.test(name) && !name.includes('*') && isPlain(name)) ? names : [];
}

/** No control characters, nothing invisible, no spaces around it. */
function isPlain(name: string): boolean {
  return name.length > 0 && name.length <= nameCharactersMax && name.trim() === name && !/\p{C}/u.test(name);
}
