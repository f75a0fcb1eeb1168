import { createAccessCheck } from '../access/access-check.ts';
import { AuditState } from '../audit/audit-state.ts';
import { HostAudit } from '../audit/host-audit.ts';
import { StoreVersion } from '../durable/store-version.ts';
import { countRequests } from '../runtime/request-numbers.ts';
import type { CallMessage, ThreadPort } from '../runtime/thread-calls.ts';
import { NamespaceLimits } from '../sessions/namespace-limits.ts';
import { StandingOrders } from '../sessions/standing-orders.ts';
import { WarmUp } from '../sessions/warm-up.ts';
import { SlotTable } from '../slots/slot-table.ts';
import { SessionOrigins } from '../workers/session-numbers.ts';
import { hostSurroundings } from './host-surroundings.ts';
import { LocalHost } from './local-host.ts';
import type { LocalHostOptions } from './local-host.ts';
import type { FromHost } from './remote-host.ts';
import type { HostThreadStart } from './thread-messages.ts';

/** The session host of a thread that was started with `start`. `port`: to the main thread. `kind`: what threads of its kind have of their own. */
export function createThreadHost(
  start: HostThreadStart,
  port: ThreadPort<CallMessage, FromHost>,
  kind: Pick<LocalHostOptions, 'counters' | 'admissionRate' | 'persistentCalls'> & Partial<LocalHostOptions>,
): LocalHost {
  const { number, config, startedAtMicros, registry, isVerbose } = start;
  const storeVersion = new StoreVersion(start.storeVersion);
  return new LocalHost({
    ...hostSurroundings,
    number,
    config,
    startedAtMicros,
    registry,
    isVerbose,
    table: SlotTable.attach(start.table),
    warmUp: new WarmUp(start.warmUp),
    orders: new StandingOrders(),
    access: createAccessCheck(config),
    origins: new SessionOrigins(start.origins),
    namespaceLimits: new NamespaceLimits(start.namespaceLimits, number, Date.now),
    nextRequest: countRequests(start.lastRequest),
    readStoreVersion: () => storeVersion.read(),
    nowMs: performance.now(),
    reportLosses: (report) => {
      port.postMessage({ kind: 'losses', report });
    },
    onSession: (event) => {
      port.postMessage({ kind: 'session', event });
    },
    audit:
      start.audit === undefined
        ? undefined
        : new HostAudit({
            state: new AuditState(start.audit),
            hasKeys: config.auditKeys,
            readWallMs: Date.now,
            send: (batch) => {
              port.postMessage({ kind: 'audit', batch });
            },
          }),
    ...(start.isKept
      ? {
          onKept: (note): void => {
            port.postMessage({ kind: 'kept', note });
          },
        }
      : {}),
    ...kind,
  });
}
