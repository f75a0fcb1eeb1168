import { resolveConfig } from '../config/config-checking.ts';
import type { ServerConfig } from '../config/config.ts';
import { RunningServer } from './server.ts';
import type { Server, ServerOptions } from './server.ts';

/** How a partition's thread can be made to fail: an uncaught exception, an exit, an endless loop, a full heap. */
export type { Fault } from '../workers/messages.ts';
export type { Inspection } from '../control/inspection.ts';

/** A server whose threads can be made to fail, and that lets itself be looked into. */
export type FaultyServer = Server &
  Pick<RunningServer, 'inflict' | 'inspect' | 'killEdge' | 'resize' | 'store'> & {
    readonly killChecks: RunningServer['killChecks'];
  };

/** `slotcast/testing`: starts the registry as `startServer` does, with a hand on its threads. For tests of what happens then. */
export async function startFaultyServer(
  input: Partial<ServerConfig> = {},
  options: ServerOptions = {},
): Promise<FaultyServer> {
  return RunningServer.start(resolveConfig(input), options);
}
