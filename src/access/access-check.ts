import { createHmac, timingSafeEqual } from 'node:crypto';

import type { ServerConfig } from '../config/config.ts';
import type { Policy } from '../protocol/access.ts';
import { anonymous as anonymousName } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import { delay } from '../runtime/timing.ts';
import { readAuthorization } from './credentials.ts';
import { FailedAttempts } from './failed-attempts.ts';
import type { JwtKeysReport } from './jwt-key-source.ts';
import { createJwtVerifier } from './jwt-settings.ts';
import type { JwtVerifier } from './jwt.ts';
import { Access, Policies } from './policy.ts';
import type { Need } from './policy.ts';
import { isHashOf, readTokenId } from './token.ts';

/** A token as threads know it. */
export interface KnownToken {
  readonly id: string;
  readonly name: string;
  /** See `hashToken`. */
  readonly hash: string;
  readonly policies: readonly string[];
  /** Milliseconds since the epoch. */
  readonly expiresAtMs?: number;
}

/** Whom the registry knows, and what they may do: the main thread tells all threads that let callers in. */
export interface AccessTables {
  readonly tokens: readonly KnownToken[];
  readonly policies: readonly Policy[];
  /** By which tokens are hashed. */
  readonly tokenKey: Uint8Array;
}

/** Who calls. */
export interface Principal {
  /** `anonymous`, or a kind and a name: `token:NAME`. */
  readonly name: string;
  /** That its credentials name. */
  readonly policies: readonly string[];
  /** Milliseconds since the epoch; undefined: its credentials stay valid. */
  readonly expiresAtMs: number | undefined;
  /** The token that it showed. */
  readonly token: string | undefined;
}

/** Whom a client's certificate names, and until when it is valid, in milliseconds since the epoch. */
export interface ShownCertificate {
  readonly principal: string;
  readonly expiresAtMs: number;
}

/** A caller, and what it may do. */
export interface Grant {
  readonly principal: Principal;
  readonly access: Access;
}

export interface AccessCheckOptions {
  readonly isOn: boolean;
  /** What no rule says anything of is allowed, save to operate and to administer. */
  readonly isOpen: boolean;
  /** In a minute and from one address. */
  readonly failuresMax: number;
  /** Milliseconds since the epoch. */
  readonly readWallMs: () => number;
  readonly delay: (ms: number) => Promise<void>;
  /** Undefined: no JSON Web Token counts. */
  readonly jwt?: JwtVerifier | undefined;
}

export const anonymous: Principal = { name: anonymousName, policies: [], expiresAtMs: undefined, token: undefined };

/** JSON Web Tokens that are verified at a time, on each thread. */
const verifyingMax = 1000;
/** Rules of principals that are kept compiled. */
const accessesMax = 10_000;
const tagBytes = 15;
/** Of base64url. */
const tagCharacters = 20;
const failureWindowMs = 60_000;
/** So long a failure takes, whatever was wrong. */
const failureMs = 250;
/** Failures that are being answered at a time: more are answered at once. */
const delayedMax = 1000;

/**
 * Who a caller is, and what it may do, on each thread that lets callers in: every door asks here, and nowhere else. While access control is off everybody may do everything, and
 * administration is for callers on the loopback address.
 */
export class AccessCheck {
  readonly isOn: boolean;
  readonly #options: AccessCheckOptions;
  readonly #failures: FailedAttempts;
  #tokens: ReadonlyMap<string, KnownToken> = new Map();
  #policies: Policies = new Policies([]);
  /** What {@link #policies} were made of. */
  #policiesText = '[]';
  #tokenKey: Uint8Array = new Uint8Array();
  /** By the principal and what its credentials name. */
  readonly #known: Map<string, Access> = new Map();
  /** Policies and tokens have been told. */
  #isKnown = false;
  #delayed = 0;
  #verifying = 0;

  constructor(options: AccessCheckOptions) {
    this.#options = options;
    this.isOn = options.isOn;
    this.#failures = new FailedAttempts(options.failuresMax, failureWindowMs);
  }

  set({ tokens, policies, tokenKey }: AccessTables): void {
    this.#tokens = new Map(tokens.map((token) => [token.id, token]));
    this.#tokenKey = tokenKey;
    // Tokens change more often, and what their principals may do is then as it was.
    const policiesText = JSON.stringify(policies);
    if (policiesText !== this.#policiesText) {
      this.#policies = new Policies(policies);
      this.#policiesText = policiesText;
      this.#known.clear();
    }
    this.#isKnown = true;
  }

  /** By an `Authorization` header or, without one, by a certificate that has been verified; without either it is nobody. */
  authenticateShown(
    {
      authorization,
      certificate,
    }: { readonly authorization: string; readonly certificate: ShownCertificate | undefined },
    address: string,
  ): Principal | Promise<Principal | Failure> {
    if (authorization === '') return certificate === undefined ? anonymous : describeCertified(certificate);
    const secret = readAuthorization(authorization);
    return secret === undefined ? this.#fail(address) : this.authenticate(secret, address);
  }

  /** Who has this secret. That nobody has it takes its time to say. Who has one is let in however often others at the address have failed: no number of attempts leads to a guess. */
  authenticate(secret: string, address: string): Principal | Promise<Principal | Failure> {
    if (!this.#isKnown) return Promise.resolve(notYet);
    const { jwt } = this.#options;
    if (jwt !== undefined && isJwt(secret)) return this.#authenticateJwt(jwt, secret, address);
    const id = readTokenId(secret);
    const token = id === undefined ? undefined : this.#tokens.get(id);
    if (token === undefined || !isHashOf(token.hash, this.#tokenKey, secret)) return this.#fail(address);
    const principal = describe(token);
    return this.isValid(principal) ? principal : this.#fail(address);
  }

  async #authenticateJwt(jwt: JwtVerifier, secret: string, address: string): Promise<Principal | Failure> {
    // One that names an unknown key waits for the issuer.
    if (this.#verifying >= verifyingMax) return refuseBusy;
    this.#verifying += 1;
    const verified = await jwt.verify(secret, this.#waitOf(address) === 0);
    this.#verifying -= 1;
    if ('refused' in verified) return verified.refused === 'keys_unavailable' ? notYet : this.#fail(address);
    const { name, policies, expiresAtMs } = verified;
    return { name: `jwt:${name}`, policies, expiresAtMs, token: undefined };
  }

  /** Looks whether there are other keys of JSON Web Tokens, if it is time. */
  tick(nowMs: number): void {
    this.#options.jwt?.tick(nowMs);
  }

  /** Ends what is on its way. */
  close(): void {
    this.#options.jwt?.close();
  }

  /** Whether a caller's credentials are still what they were. */
  isValid({ expiresAtMs, token }: Principal): boolean {
    if (token !== undefined && !this.#tokens.has(token)) return false;
    const endsAtMs = token === undefined ? expiresAtMs : this.#tokens.get(token)?.expiresAtMs;
    return endsAtMs === undefined || this.#options.readWallMs() < endsAtMs;
  }

  grantFor(principal: Principal): Grant {
    return { principal, access: this.#accessOf(principal) };
  }

  /** Why a caller may not do something. */
  refuse({ principal, access }: Grant, needs: readonly Need[]): Failure | undefined {
    if (this.isOn && !this.#isKnown) return needs.length === 0 ? undefined : notYet;
    const failure = access.refuse(needs);
    return failure === undefined || principal !== anonymous ? failure : unauthorized;
  }

  /** Why a caller that nobody knows may not even ask; undefined: it may. */
  refuseStranger({ principal }: Grant): Failure | undefined {
    if (this.isOn && !this.#isKnown) return notYet;
    if (principal !== anonymous || this.#options.isOpen || this.policiesOf(principal).length > 0) return undefined;
    return unauthorized;
  }

  /** What a session or a lease is continued with, as its principal is given it: nobody else can. */
  bind(secret: string, { name }: Principal): string {
    return this.isOn ? secret + this.#tagOf(secret, name) : secret;
  }

  /** The secret behind what {@link bind} made; undefined: it was made for another principal. */
  unbind(bound: string, { name }: Principal): string | undefined {
    if (!this.isOn) return bound;
    const secret = bound.slice(0, -tagCharacters);
    const [given, expected] = [bound.slice(-tagCharacters), this.#tagOf(secret, name)].map((tag) => Buffer.from(tag));
    return given!.length === expected!.length && timingSafeEqual(given!, expected!) ? secret : undefined;
  }

  #tagOf(secret: string, name: string): string {
    const tag = createHmac('sha256', this.#tokenKey).update(`${name}\n${secret}`).digest();
    return tag.subarray(0, tagBytes).toString('base64url');
  }

  /** Names of the policies that apply. */
  policiesOf({ name, policies }: Principal): readonly string[] {
    return this.#policies.namesFor(name, policies);
  }

  #accessOf({ name, policies }: Principal): Access {
    const key = `${name}\n${policies.join('\n')}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const access = new Access(this.#policies.rulesFor(name, policies), this.#options.isOpen);
    if (this.#known.size >= accessesMax) this.#known.clear();
    this.#known.set(key, access);
    return access;
  }

  async #fail(address: string): Promise<Failure> {
    const waitMs = this.#waitOf(address);
    if (waitMs > 0) return this.#refuseAddress(waitMs);
    this.#failures.note(address, this.#options.readWallMs());
    if (this.#delayed >= delayedMax) return unauthorized;
    this.#delayed += 1;
    await this.#options.delay(failureMs);
    this.#delayed -= 1;
    return unauthorized;
  }

  #waitOf(address: string): number {
    return this.#failures.waitOf(address, this.#options.readWallMs());
  }

  #refuseAddress(waitMs: number): Failure {
    return {
      code: 'busy',
      message: 'too many attempts to authenticate from this address have failed',
      limit: 'authFailuresMax',
      max: this.#options.failuresMax,
      retryAfterMs: Math.ceil(waitMs),
    };
  }
}

function readWallMs(): number {
  return performance.timeOrigin + performance.now();
}

/** As the settings say, on the machine's clock. */
export function createAccessCheck(
  config: ServerConfig,
  onKeys: (report: JwtKeysReport) => void = () => undefined,
): AccessCheck {
  const { accessControl, accessDefault, authFailuresMax } = config;
  return new AccessCheck({
    jwt:
      accessControl === 'on'
        ? createJwtVerifier(config, { report: onKeys, readMs: () => performance.now(), readWallMs })
        : undefined,
    isOn: accessControl === 'on',
    isOpen: accessDefault === 'allow',
    failuresMax: authFailuresMax,
    readWallMs,
    delay,
  });
}

export const unauthorized: Failure = {
  code: 'unauthorized',
  message: 'valid credentials are needed: a token, in the header Authorization, or in session.open',
};

/** Nor is anybody let in by what policies would deny, were they known. */
const notYet: Failure = {
  code: 'busy',
  message: 'it is not known yet who may do what',
  retryAfterMs: 1000,
};

const refuseBusy: Failure = {
  code: 'busy',
  message: 'too many credentials are being looked at',
  retryAfterMs: 1000,
};

function describeCertified({ principal, expiresAtMs }: ShownCertificate): Principal {
  return { name: `certificate:${principal}`, policies: [], expiresAtMs, token: undefined };
}

/** Three parts in base64url; the second and the third of an unsecured one may be empty, and that is refused like any other. */
function isJwt(secret: string): boolean {
  return /^[\w-]+\.[\w-]*\.[\w-]*$/.test(secret);
}

function describe({ id, name, policies, expiresAtMs }: KnownToken): Principal {
  return { name: `token:${name}`, policies, expiresAtMs, token: id };
}
