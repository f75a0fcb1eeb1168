/** Where the keys of JWTs are: a JWKS in a file, or one that is fetched from this URL and no other. */
export type JwtKeysPlace =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'useless'; readonly reason: string };

/** Whoever can change what a URL answers can sign tokens: it must be https, or stay on this machine. */
export function parseJwtKeys(value: string): JwtKeysPlace {
  if (!/^[a-z][a-z0-9+.-]+:/i.test(value)) return { kind: 'file', path: value };
  const shown = JSON.stringify(value);
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    return { kind: 'useless', reason: `${shown} is no URL` };
  }
  if (url.username !== '' || url.password !== '') {
    return { kind: 'useless', reason: 'the URL of the keys must not contain a user or a password' };
  }
  const isLocal = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal)) {
    return { kind: 'useless', reason: `${shown} must be a file or an https URL; http only on this machine` };
  }
  return { kind: 'url', url: url.href };
}

/** Why the setting would be of no use, or undefined. */
export function explainUselessKeys(value: string): string | undefined {
  const place = parseJwtKeys(value);
  return place.kind === 'useless' ? place.reason : undefined;
}
