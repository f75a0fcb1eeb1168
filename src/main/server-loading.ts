import type * as ServerModule from './index.ts';

// The server is loaded only by those who run one: whoever merely talks to a registry does so on platforms, too, where no socket library is to be had.

/** Where a server was to run. */
export interface Platform {
  /** Such as `24.1.0`. */
  readonly node: string;
  readonly os: string;
  readonly arch: string;
  /** Of Linux alone; `undefined` elsewhere. */
  readonly libc: 'glibc' | 'musl' | undefined;
}

/** The server's socket library has no binary for this platform. */
export class PlatformError extends Error {
  override readonly name: string = 'PlatformError';
}

/** Imports the server. Throws {@link PlatformError} where its socket library cannot be loaded. */
export async function loadServer(
  load: () => Promise<typeof ServerModule> = () => import('./index.ts'),
  platform: Platform = readPlatform(),
): Promise<typeof ServerModule> {
  try {
    return await load();
  } catch (error) {
    if (!isLibraryMissing(error)) throw error;
    throw new PlatformError(describeMissingLibrary(platform), { cause: error });
  }
}

/** The library words its own failures so; when it is not installed at all, Node names it by the name that it was imported by. */
function isLibraryMissing(error: unknown): boolean {
  return error instanceof Error && /uWS\.js|uWebSockets\.js/.test(error.message);
}

function describeMissingLibrary({ node, os, arch, libc }: Platform): string {
  const here = `Node ${node} on ${os} ${arch}${libc === undefined ? '' : ` with ${libc}`}`;
  const where =
    libc === 'musl'
      ? 'On Linux it needs glibc: use an image that has it, such as node:22-slim rather than node:22-alpine.'
      : 'It has them for Node 20 and 22, on Linux with glibc, macOS and Windows.';
  return (
    `the server cannot run here: uWebSockets.js, by which it holds its sockets, has no binary for ${here}. ${where} ` +
    'Commands that talk to a registry elsewhere work here as well.'
  );
}

function readPlatform(): Platform {
  return {
    node: process.versions.node,
    os: process.platform,
    arch: process.arch,
    libc: process.platform === 'linux' ? readLibc() : undefined,
  };
}

/** Node reports a version of glibc where it was linked to it. */
function readLibc(): 'glibc' | 'musl' {
  const { header } = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}
