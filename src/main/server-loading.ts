import type * as ServerModule from './index.ts';

/** Imports the server, which only those who run one need: commands that merely talk to a registry start sooner without it. */
export function loadServer(): Promise<typeof ServerModule> {
  return import('./index.ts');
}
