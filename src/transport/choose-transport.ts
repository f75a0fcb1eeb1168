import { describePlatform, readPlatform } from './platform.ts';
import type { Platform } from './platform.ts';
import type { CreateTransport } from './transport.ts';

/** Which library handles the sockets: `uws` is uWebSockets.js, `node` is Node's own `http` and the package `ws`. */
export type TransportKind = 'uws' | 'node';

export interface ChosenTransport {
  readonly kind: TransportKind;
  readonly create: CreateTransport;
  /** Why it is not the faster one, if nobody asked for the other. */
  readonly fallback: string | undefined;
}

/** uWebSockets.js has no binary for this platform, and nothing else was to be used. */
export class PlatformError extends Error {
  override readonly name: string = 'PlatformError';
}

/** `auto`: uWebSockets.js where it runs, else Node's own sockets. Throws {@link PlatformError} where `uws` is wanted and does not run. */
export async function chooseTransport(
  wanted: TransportKind | 'auto',
  platform: Platform = readPlatform(),
  loadUws: () => Promise<CreateTransport> = loadUwsTransport,
): Promise<ChosenTransport> {
  if (wanted === 'node') return { kind: 'node', create: await loadNodeTransport(), fallback: undefined };
  try {
    return { kind: 'uws', create: await loadUws(), fallback: undefined };
  } catch (error) {
    if (!isLibraryMissing(error)) throw error;
    const fallback = `uWebSockets.js has no binary for ${describePlatform(platform)}`;
    if (wanted === 'auto') return { kind: 'node', create: await loadNodeTransport(), fallback };
    throw new PlatformError(`the transport uws cannot run here: ${fallback}. Use --transport node, or auto`, {
      cause: error,
    });
  }
}

async function loadUwsTransport(): Promise<CreateTransport> {
  const { UwsTransport } = await import('./uws-transport.ts');
  return (options) => new UwsTransport(options);
}

async function loadNodeTransport(): Promise<CreateTransport> {
  const { NodeTransport } = await import('./node-transport.ts');
  return (options) => new NodeTransport(options);
}

/** The library words its own failures so; when it is not installed at all, Node names it by the name that it was imported by. */
function isLibraryMissing(error: unknown): boolean {
  return error instanceof Error && /uWS\.js|uWebSockets\.js/.test(error.message);
}
