import { createRequire } from 'node:module';

/** The package's version, from its package.json. */
export const productVersion: string = readVersion();

function readVersion(): string {
  // By name rather than by path: it is found from the sources and from what they compile to alike.
  const { version } = createRequire(import.meta.url)('slotcast/package.json') as { version: string };
  return version;
}
