/** What the audit log has a line about, as its field `what` names it. */
export const auditActs = [
  'instance.register',
  'instance.deregister',
  'service.declare',
  'service.withdraw',
  'key.put',
  'key.delete',
  'keys.delete',
  'keys.transact',
  'backup.read',
  'switch.set',
  'switch.lift',
  'switch.end',
  'guard.release',
  'instance.remove',
  'sessions.goaway',
  'partitions.resize',
  'partitions.rebalance',
  'request.refused',
  'server.start',
  'server.stop',
  'audit.file',
  'audit.torn',
  'audit.gap',
] as const;

export type AuditAct = (typeof auditActs)[number];
