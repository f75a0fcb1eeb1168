import type { ServiceFields, ServiceName } from './types.ts';

export const defaultNamespace = 'public';
export const defaultGroup = 'DEFAULT';

/** The key that is hashed: `namespace/group/service`. Unambiguous, since neither namespace nor group may hold a `/`. */
export function serviceKey({
  namespace,
  group,
  service,
}: { [F in keyof ServiceFields]: ServiceFields[F] | undefined }): string {
  return `${namespace ?? defaultNamespace}/${group ?? defaultGroup}/${service}`;
}

/** The inverse of {@link serviceKey}. The service part may itself hold any number of `/`. */
export function parseServiceKey(key: string): ServiceName {
  const first = key.indexOf('/');
  const second = key.indexOf('/', first + 1);
  if (first < 0 || second < 0) throw new Error(`not a service key: ${key}`);
  return { namespace: key.slice(0, first), group: key.slice(first + 1, second), service: key.slice(second + 1) };
}
