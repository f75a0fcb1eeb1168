/** Why an entry of `allowedOrigins` would never match, or undefined. Browsers send scheme, host and port, in one spelling; `null` where they will not say. */
export function explainUselessOrigin(entry: string): string | undefined {
  if (entry === '*' || entry === 'null') return undefined;
  const sent = entry.includes('*') ? undefined : spellOrigin(entry);
  if (sent === entry) return undefined;
  return sent === undefined
    ? `${JSON.stringify(entry)} matches no Origin: it must be scheme://host or scheme://host:port, and a pattern only as "*" for all`
    : `${JSON.stringify(entry)} matches no Origin: browsers send it as ${JSON.stringify(sent)}`;
}

/** As a browser spells it: lower case, without a path, without the scheme's own port. */
function spellOrigin(text: string): string | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  if (url.host === '') return undefined;
  // Schemes of extensions and apps have no origin by the standard, and send scheme and host all the same.
  return url.origin === 'null' ? `${url.protocol}//${url.host}` : url.origin;
}
