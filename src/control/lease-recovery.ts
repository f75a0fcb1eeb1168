import type { Router } from '../routing/router.ts';
import type { LeaseRecord } from '../sessions/lease-record.ts';
import type { SessionHost } from '../sessions/session-host.ts';
export async function recoverLeases({ host, leases }: {host: SessionHost, router: Router, leases: readonly LeaseRecord[]}): Promise<boolean> {
  for (const lease of leases) host.sessions.restoreLease(lease);
  return true;
}
