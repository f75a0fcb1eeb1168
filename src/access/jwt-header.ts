import { parseObject } from './strict-json.ts';

/** Signatures with a key pair. None with a shared secret: a public key must never be taken for one. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;

export type JwtAlgorithm = (typeof algorithms)[number];

/** Longest token, in characters. */
const jwtLengthMax = 8192;
/** Longest name of a key, in characters. */
const kidLengthMax = 256;

/** What could make a reader take another key, or another reading of the token, than the one that was configured. */
const refusedMembers = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc', 'cty'];
/** Other kinds of tokens are signed with the same keys, and say so. */
const knownTypes = /^(application\/)?(at\+)?jwt$/i;

/** What is known of a token before its signature has been checked. */
export interface JwtHeader {
  readonly algorithm: JwtAlgorithm;
  /** A name to look up among the keys, and nothing else. */
  readonly kid: string | undefined;
}

export type HeaderRefusal = 'too_long' | 'malformed' | 'algorithm' | 'header';

/** Reads the header of a signed token in compact form; encrypted ones have two parts more. */
export function readJwtHeader(token: string): JwtHeader | HeaderRefusal {
  if (token.length > jwtLengthMax) return 'too_long';
  const parts = token.split('.');
  if (parts.length !== 3 || !parts.every(isBase64Url)) return 'malformed';
  const header = parseObject(Buffer.from(parts[0] ?? '', 'base64url'));
  if (header === undefined) return 'malformed';
  const { alg, kid, typ } = header;
  const algorithm = algorithms.find((each) => each === alg);
  if (algorithm === undefined) return 'algorithm';
  if (refusedMembers.some((name) => Object.hasOwn(header, name))) return 'header';
  if (typ !== undefined && !(typeof typ === 'string' && knownTypes.test(typ))) return 'header';
  if (kid === undefined) return { algorithm, kid };
  return typeof kid === 'string' && kid.length <= kidLengthMax ? { algorithm, kid } : 'header';
}

/** In the one spelling that its bytes have: otherwise the last letter of a signature could be another without changing it. */
function isBase64Url(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** What a key may be used for; its own `alg`, if it has one, leaves no other. */
export function algorithmsOf({ kty, crv, alg }: { kty?: unknown; crv?: unknown; alg?: unknown }): JwtAlgorithm[] {
  const fitting = algorithms.filter((each) => {
    switch (each) {
      case 'ES256':
        return kty === 'EC' && crv === 'P-256';
      case 'ES384':
        return kty === 'EC' && crv === 'P-384';
      case 'ES512':
        return kty === 'EC' && crv === 'P-521';
      case 'EdDSA':
        return kty === 'OKP' && crv === 'Ed25519';
      default:
        return kty === 'RSA';
    }
  });
  return alg === undefined ? fitting : fitting.filter((each) => each === alg);
}
