import { AuditState } from '../audit/audit-state.ts';
import type { ServerConfig } from '../config/config.ts';
import { admissionRateBytes } from '../runtime/admission-rate.ts';
import { descriptorBudgetBytes } from '../runtime/descriptors.ts';
import { httpPortBytes } from '../runtime/http-port.ts';
import { sessionCountsBytes } from '../runtime/session-counts.ts';
import { namespaceLimitBytes } from '../sessions/namespace-limits.ts';
import { warmUpBytes } from '../sessions/warm-up.ts';
import { createQuotaMemory } from '../workers/partition-runner.ts';
import { SessionOrigins } from '../workers/session-numbers.ts';

/** Memory that the threads of a server share. */
export interface SharedMemory {
  /** The number of the last request of any host, one 64-bit word. */
  readonly lastRequest: SharedArrayBuffer;
  /** See `AdmissionRate`. */
  readonly admissionRate: SharedArrayBuffer;
  /** See `HttpPort`. */
  readonly httpPort: SharedArrayBuffer;
  /** See `SessionOrigins`. */
  readonly origins: SharedArrayBuffer;
  /** See `WarmUp`. */
  readonly warmUp: SharedArrayBuffer;
  /** See `NamespaceQuotas`. */
  readonly quotas: SharedArrayBuffer;
  /** See `NamespaceLimits`. */
  readonly namespaceLimits: SharedArrayBuffer;
  /** See `DescriptorBudget`. */
  readonly descriptors: SharedArrayBuffer;
  /** See `AuditState`. */
  readonly auditState: SharedArrayBuffer;
  /** See `SharedSessionCounts`; without I/O threads nobody shares it. */
  readonly sessionCounts: SharedArrayBuffer;
}

export function createSharedMemory({ ioThreads, edgeThreads }: ServerConfig): SharedMemory {
  return {
    lastRequest: new SharedArrayBuffer(8),
    admissionRate: new SharedArrayBuffer(admissionRateBytes),
    httpPort: new SharedArrayBuffer(httpPortBytes),
    origins: new SessionOrigins().memory,
    warmUp: new SharedArrayBuffer(warmUpBytes(1 + ioThreads + edgeThreads)),
    quotas: createQuotaMemory(),
    namespaceLimits: new SharedArrayBuffer(namespaceLimitBytes(1 + ioThreads + edgeThreads)),
    descriptors: new SharedArrayBuffer(descriptorBudgetBytes),
    auditState: new AuditState().memory,
    sessionCounts: new SharedArrayBuffer(ioThreads === 0 ? 0 : sessionCountsBytes),
  };
}
