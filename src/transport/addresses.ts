/** An address of 4 or 16 bytes as text: `10.0.0.1`, `2001:db8::1`; an IPv4 one that came as IPv6 as what it is. */
export function formatAddress(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  if (address.length !== 16) return '';
  const words = Array.from({ length: 8 }, (_, i) =>
    (((address[i * 2] ?? 0) << 8) | (address[i * 2 + 1] ?? 0)).toString(16),
  );
  if (words.slice(0, 6).join() === '0,0,0,0,0,ffff') return address.subarray(12).join('.');
  // URLs spell IPv6 addresses in the one way that RFC 5952 asks for.
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}

/** An address as Node reports it, in the same form. */
export function normalizeAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? address.replace(/%.*$/, '');
}

/** Of an address as text, as {@link formatAddress} and {@link normalizeAddress} give it. */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}
