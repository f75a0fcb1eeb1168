import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import type { JWK } from 'jose';

import type { JwtOptions } from '../../src/access/jwt.ts';

/** When the tests take place: 2023-11-14, in seconds. */
export const nowSeconds = 1_700_000_000;

/** Claims that are accepted. */
export const goodClaims: Readonly<Record<string, unknown>> = {
  iss: 'https://issuer.example',
  aud: 'slotcast',
  sub: 'orders-team',
  policies: ['orders', 'read-all'],
  iat: nowSeconds - 10,
  nbf: nowSeconds - 10,
  exp: nowSeconds + 600,
};

export const goodPrincipal: object = {
  name: 'orders-team',
  policies: ['orders', 'read-all'],
  expiresAtMs: (nowSeconds + 600) * 1000 + 30_000,
};

export const baseOptions: Omit<JwtOptions, 'place'> = {
  issuer: 'https://issuer.example',
  audience: 'slotcast',
  skewMs: 30_000,
  nameClaim: 'sub',
  policiesClaim: 'policies',
  report: () => undefined,
  readMs: () => 0,
  readWallMs: () => nowSeconds * 1000,
};

/** A key pair of an issuer. */
export class IssuerKey {
  readonly jwk: JWK;
  readonly #privateKey: CryptoKey;
  readonly #algorithm: string;
  readonly #kid: string | undefined;

  private constructor(jwk: JWK, privateKey: CryptoKey, algorithm: string) {
    this.jwk = jwk;
    this.#privateKey = privateKey;
    this.#algorithm = algorithm;
    this.#kid = jwk.kid;
  }

  /** `kid` undefined: the key has no name. */
  static async generate(algorithm: string, kid: string | undefined, members: JWK = {}): Promise<IssuerKey> {
    const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
    const named = kid === undefined ? {} : { kid };
    return new IssuerKey({ ...(await exportJWK(publicKey)), ...named, ...members }, privateKey, algorithm);
  }

  /** `payload`: claims, or a text as it is. */
  sign(payload: object | string = goodClaims, header: object = {}): Promise<string> {
    const named = this.#kid === undefined ? {} : { kid: this.#kid };
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
    return new CompactSign(new TextEncoder().encode(text))
      .setProtectedHeader({ alg: this.#algorithm, ...named, ...header })
      .sign(this.#privateKey);
  }

  exportPrivate(): Promise<JWK> {
    return exportJWK(this.#privateKey);
  }
}

/** As a header or claims are written in a token. */
export function encodePart(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}
