import type { ServerConfig } from '../config/config.ts';
import { parseJwtKeys } from '../config/jwt-keys.ts';
import { JwtVerifier } from './jwt.ts';
import type { JwtOptions } from './jwt.ts';

type JwtSettings = Pick<
  ServerConfig,
  'jwtKeys' | 'jwtIssuer' | 'jwtAudience' | 'jwtClockSkewMs' | 'jwtPoliciesClaim' | 'jwtNameClaim'
>;

/** The verifier that the settings ask for; `undefined` if no JWT is to be accepted. */
export function createJwtVerifier(
  config: JwtSettings,
  surroundings: Pick<JwtOptions, 'report' | 'readMs' | 'readWallMs'>,
): JwtVerifier | undefined {
  if (config.jwtKeys === '') return undefined;
  const place = parseJwtKeys(config.jwtKeys);
  if (place.kind === 'useless') throw new Error(`the setting was checked before: ${place.reason}`);
  return new JwtVerifier({
    ...surroundings,
    place,
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    skewMs: config.jwtClockSkewMs,
    policiesClaim: config.jwtPoliciesClaim,
    nameClaim: config.jwtNameClaim,
  });
}
