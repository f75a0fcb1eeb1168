const pattern = /^audit-(\d{6,9})\.jsonl$/;

export function formatAuditFileName(number: number): string {
  return `audit-${String(number).padStart(6, '0')}.jsonl`;
}

/** Undefined: it is no file of an audit log. */
export function readAuditFileName(name: string): number | undefined {
  const [, digits] = pattern.exec(name) ?? [];
  return digits === undefined ? undefined : Number(digits);
}
