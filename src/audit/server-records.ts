import { createHash } from 'node:crypto';

import { serverActor } from '../protocol/actor.ts';
import type { AuditAct } from '../protocol/audit-acts.ts';
import type { AuditRecord } from './audit-record.ts';

/** What the server does by itself. */
export function serverRecord(what: AuditAct, target?: object): AuditRecord {
  return { actor: serverActor, what, target, outcome: 'done' };
}

/** By which what was cut off can be told again. */
export function hashTorn(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
