/** What a token must say, and where. */
export interface JwtRules {
  readonly issuer: string;
  readonly audience: string;
  /** How far clocks may differ. */
  readonly skewMs: number;
  /** The claim that names the principal, usually `sub`. */
  readonly nameClaim: string;
  /** The claim that lists its policies: an array of names, or names with spaces in between. */
  readonly policiesClaim: string;
}

/** Who a token speaks for. */
export interface JwtPrincipal {
  readonly name: string;
  readonly policies: readonly string[];
  /** When it is no longer accepted, by the wall clock: its `exp`, and the clocks' difference. */
  readonly expiresAtMs: number;
}

export type ClaimRefusal = 'issuer' | 'audience' | 'expired' | 'not_yet_valid' | 'claims';

/** Longest name of a principal or a policy, in characters. */
const nameLengthMax = 256;
/** Most policies of a token. */
const policiesMax = 100;
/** The last second that a `Date` can show. */
const secondsMax = 8_640_000_000_000;

export function judgeClaims(
  claims: Readonly<Record<string, unknown>>,
  rules: JwtRules,
  nowMs: number,
): JwtPrincipal | ClaimRefusal {
  const { issuer, audience, skewMs } = rules;
  if (readClaim(claims, 'iss') !== issuer) return 'issuer';
  const aud = readClaim(claims, 'aud');
  if (aud !== audience && !(isListOfStrings(aud) && aud.includes(audience))) return 'audience';
  const exp = readSeconds(claims, 'exp');
  const nbf = readSeconds(claims, 'nbf') ?? 0;
  const iat = readSeconds(claims, 'iat') ?? 0;
  if (exp === undefined || exp === 'invalid' || nbf === 'invalid' || iat === 'invalid') return 'claims';
  const expiresAtMs = exp * 1000 + skewMs;
  if (nowMs >= expiresAtMs) return 'expired';
  if (Math.max(nbf, iat) * 1000 - skewMs > nowMs) return 'not_yet_valid';
  const name = readClaim(claims, rules.nameClaim);
  const policies = readPolicies(readClaim(claims, rules.policiesClaim));
  if (!isName(name) || policies === undefined) return 'claims';
  return { name, policies, expiresAtMs };
}

/** Its own: `constructor` is the name of no claim. */
function readClaim(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

function readSeconds(claims: Readonly<Record<string, unknown>>, name: string): number | 'invalid' | undefined {
  const value = readClaim(claims, name);
  if (value === undefined) return undefined;
  return typeof value === 'number' && value >= 0 && value <= secondsMax ? value : 'invalid';
}

function readPolicies(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  const names = typeof value === 'string' ? value.split(' ').filter((name) => name !== '') : value;
  const isValid = isListOfStrings(names) && names.length <= policiesMax && names.every(isName);
  return isValid ? [...new Set(names)] : undefined;
}

function isListOfStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

/** It is shown in logs and lists. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= nameLengthMax && !/[\p{Cc}\p{Cs}]/u.test(value);
}
