import { describePlatform, readPlatform } from './platform.ts';
import type { Platform } from './platform.ts';
import type { CreateTransport } from './transport.ts';
import { findUws, PinError, verifyUws } from './uws-files.ts';
import { uwsPins } from './uws-pins.ts';

/** Which library handles the sockets: `uws` is uWebSockets.js, `node` is Node's own `http` and the package `ws`. */
export type TransportKind = 'uws' | 'node';

export interface ChosenTransport {
  readonly kind: TransportKind;
  readonly create: CreateTransport;
  /** Why it is not the faster one, if nobody asked for the other. */
  readonly fallback: string | undefined;
  /** The faster one is there, but not as it is pinned. */
  readonly isSuspicious: boolean;
}

/** uWebSockets.js has no binary for this platform, or one that is not pinned, and nothing else was to be used. */
export class PlatformError extends Error {
  override readonly name: string = 'PlatformError';
}

/** `auto`: uWebSockets.js where it runs, else Node's own sockets. Throws {@link PlatformError} where `uws` is wanted and does not run. */
export async function chooseTransport(
  wanted: TransportKind | 'auto',
  platform: Platform = readPlatform(),
  loadUws: () => Promise<CreateTransport> = loadUwsTransport,
): Promise<ChosenTransport> {
  const plain = { fallback: undefined, isSuspicious: false } as const;
  if (wanted === 'node') return { kind: 'node', create: await loadNodeTransport(), ...plain };
  try {
    return { kind: 'uws', create: await loadUws(), ...plain };
  } catch (error) {
    const fallback = describeFailure(error, platform);
    if (fallback === undefined) throw error;
    if (wanted === 'auto')
      return { kind: 'node', create: await loadNodeTransport(), fallback, isSuspicious: error instanceof PinError };
    throw new PlatformError(`the transport uws cannot run here: ${fallback}. Use --transport node, or auto`, {
      cause: error,
    });
  }
}

/** For TLS, where Node's own sockets are always used. */
export async function chooseSecureTransport(wanted: 'auto' | 'node'): Promise<ChosenTransport> {
  const fallback = wanted === 'auto' ? 'uWebSockets.js cannot take a new TLS certificate while it runs' : undefined;
  return { kind: 'node', create: await loadNodeTransport(), fallback, isSuspicious: false };
}

/** Why it is not used, in one line; `undefined` if it is a bug. */
function describeFailure(error: unknown, platform: Platform): string | undefined {
  if (error instanceof PinError) return `uWebSockets.js is not loaded: ${error.message}`;
  return isLibraryMissing(error) ? `uWebSockets.js has no binary for ${describePlatform(platform)}` : undefined;
}

async function loadUwsTransport(): Promise<CreateTransport> {
  const files = await verifyUws(uwsPins, findUws());
  const { UwsTransport } = await import('./uws-transport.ts');
  await files.confirm();
  return (options) => new UwsTransport(options);
}

async function loadNodeTransport(): Promise<CreateTransport> {
  const { NodeTransport } = await import('./node-transport.ts');
  return (options) => new NodeTransport(options);
}

/** Nothing has a binary for this platform: as the library itself words it, as {@link verifyUws} does, and as Node does where the library is not installed at all. */
function isLibraryMissing(error: unknown): boolean {
  const missing = /^This version of uWS\.js |^uWebSockets\.js has no |^Cannot find package 'uWebSockets\.js'/;
  return error instanceof Error && missing.test(error.message);
}
