import { serviceKey } from '../protocol/service-key.ts';
import type {
  KeyDeleteParams,
  KeyPutParams,
  KeyTransactOperation,
  KeyUnwatchParams,
  MethodName,
  Methods,
} from '../protocol/types.ts';
import { exactly } from './patterns.ts';
import { beginning, needService, needServices } from './policy.ts';
import type { Need } from './policy.ts';

/** What a session needs to be allowed for each of its methods. What is its own needs nothing. */
export const methodNeeds: { readonly [M in MethodName]: (params: Methods[M]['params']) => readonly Need[] } = {
  'session.open': () => [],
  'session.registrations': () => [],
  'instance.register': (params) => [needService('register', serviceKey(params))],
  'instance.deregister': (params) => [needService('register', serviceKey(params))],
  'instance.health': (params) => [needService('register', serviceKey(params))],
  'service.query': (params) => [needService('read', serviceKey(params))],
  'service.subscribe': (params) => [needService('subscribe', serviceKey(params))],
  'service.unsubscribe': () => [],
  'service.list': ({ namespace, prefix }) => [needServices('read', namespace, prefix)],
  'kv.get': ({ key }) => [needKey('keys:read', key)],
  'kv.put': needsOfPut,
  'kv.delete': needsOfDeletion,
  'kv.list': ({ prefix }) => [{ action: 'keys:read', key: beginning(prefix) }],
  'kv.transact': ({ operations }) => operations.flatMap((operation) => needsOfOperation(operation)),
  'kv.watch': needsOfWatch,
  'kv.unwatch': () => [],
};

function needKey(action: 'keys:read' | 'keys:write' | 'lock', key: string): Need {
  return { action, key: exactly(key) };
}

function needsOfPut({ key, acquire, release, ephemeral }: KeyPutParams): readonly Need[] {
  const isLock = acquire === true || release === true || ephemeral === true;
  return isLock ? [needKey('keys:write', key), needKey('lock', key)] : [needKey('keys:write', key)];
}

function needsOfDeletion({ key, prefix }: KeyDeleteParams): readonly Need[] {
  return [key === undefined ? { action: 'keys:write', key: beginning(prefix) } : needKey('keys:write', key)];
}

function needsOfWatch({ key, prefix }: KeyUnwatchParams): readonly Need[] {
  return [key === undefined ? { action: 'keys:read', key: beginning(prefix) } : needKey('keys:read', key)];
}

/** What a transaction changes it may also tell of, without its value. */
function needsOfOperation(operation: KeyTransactOperation): readonly Need[] {
  switch (operation.op) {
    case 'get':
    case 'check':
      return [needKey('keys:read', operation.key)];
    case 'put':
      return needsOfPut(operation);
    case 'delete':
      return [needKey('keys:write', operation.key)];
    default:
      return operation satisfies never;
  }
}
