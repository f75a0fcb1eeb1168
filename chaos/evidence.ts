import { setTimeout as delay } from 'node:timers/promises';

import { serviceKey } from '../src/protocol/service-key.ts';
import type { RegistryProcess } from './registry-process.ts';

/** The instance that a failure is about. */
const namedInstance = /(\S+) (i\d+) is /;

/** How long after its connections a process may be seen to have ended, in milliseconds. */
const endShowsWithinMs = 300;

export interface NamedInstance {
  readonly service: string;
  readonly id: string;
}

export function findNamed(failure: string): NamedInstance | undefined {
  const [, service, id] = namedInstance.exec(failure) ?? [];
  return service === undefined || id === undefined ? undefined : { service, id };
}

/** What the registry itself says, right after a failure, of the instance that it names: who has registered it, and what has become of those sessions. */
export async function gatherEvidence(registry: RegistryProcess, failure: string): Promise<string[]> {
  // A process that ends closes its connections first.
  await delay(endShowsWithinMs);
  if (!registry.isUp) return [`the registry has ended: ${registry.formatEnd()}`];
  const named = findNamed(failure);
  if (named === undefined) return ['the registry still runs'];
  const { service, id } = named;
  try {
    const { logged } = await registry.inspect();
    const sessions = new Map((await registry.readSessions()).map((entry) => [entry.session, entry]));
    const claims = logged.filter((claim) => claim.key === serviceKey({ service }) && claim.id === id);
    if (claims.length === 0) return [`by now no session has ${service} ${id} any more`];
    return claims.map(({ session, fragment, isHidden }) => {
      const { state = 'not listed', thread = 'none' } = sessions.get(session) ?? {};
      return `session ${session}, ${state}, thread ${thread}, has ${fragment.slice(0, 200)}, which ${isHidden ? 'does not show' : 'shows'}`;
    });
  } catch (error) {
    return [`the registry cannot say who has ${service} ${id}: ${String(error)}`];
  }
}
