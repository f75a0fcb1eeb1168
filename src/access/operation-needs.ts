import type {
  KeyListQuery,
  KeyPutQuery,
  KeyTransactBody,
  OperationId,
  ReleaseBody,
} from '../protocol/http-operations.ts';
import type { DeclarationListQuery } from '../protocol/service-declaration.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { SwitchQuery } from '../protocol/switches.ts';
import type { KeyDeleteParams, ListParams, ServiceFields } from '../protocol/types.ts';
import { methodNeeds } from './method-needs.ts';
import { needRegistry, needService, needServices } from './policy.ts';
import type { Need } from './policy.ts';

/** The checked input of an operation: its query or body, and what its path names. */
export interface OperationInput {
  readonly value: unknown;
  readonly service: string;
  readonly key: string;
}

/** What a caller over HTTP needs to be allowed for each operation; undefined: it is for everybody, whoever that is. */
export const operationNeeds: Readonly<Record<OperationId, ((input: OperationInput) => readonly Need[]) | undefined>> = {
  listServices: ({ value }) => methodNeeds['service.list'](value as ListParams),
  queryService: ({ value }) => ofService('read', value),
  watchService: ({ value }) => ofService('subscribe', value),
  listDeclarations: ({ value }) => {
    const { namespace } = value as DeclarationListQuery;
    return [needServices('read', namespace, undefined)];
  },
  readService: ({ value, service }) => ofService('read', { ...(value as object), service }),
  declareService: ({ value, service }) => ofService('operate', { ...(value as object), service }),
  withdrawService: ({ value, service }) => ofService('operate', { ...(value as object), service }),
  registerInstance: ({ value }) => ofService('register', value),
  deregisterInstance: ({ value }) => ofService('register', value),
  reportHealth: ({ value }) => ofService('register', value),
  // A lease is its own credential, and belongs to the principal to whom it was granted.
  grantLease: () => [],
  renewLease: () => [],
  endLease: () => [],
  listKeys: ({ value }) => methodNeeds['kv.list'](value as KeyListQuery),
  deleteKeys: ({ value }) => methodNeeds['kv.delete'](value as KeyDeleteParams),
  readKey: ({ key }) => methodNeeds['kv.get']({ key }),
  putKey: ({ value, key }) => {
    const { acquire, release } = value as KeyPutQuery;
    return methodNeeds['kv.put']({ key, acquire: acquire !== undefined, release: release !== undefined });
  },
  deleteKey: ({ key }) => methodNeeds['kv.delete']({ key }),
  transactKeys: ({ value }) => methodNeeds['kv.transact'](value as KeyTransactBody),
  readStats: operate,
  readPartitions: operate,
  resizePartitions: operate,
  rebalancePartitions: operate,
  readGuard: operate,
  releaseGuard: ({ value }) => {
    const { service, ...names } = value as ReleaseBody;
    return service === undefined ? operate() : ofService('operate', { ...names, service });
  },
  readMetrics: operate,
  listChecks: operate,
  listSwitches: operate,
  setSwitch: ({ value }) => ofSwitch(value as SwitchQuery),
  liftSwitch: ({ value }) => ofSwitch(value as SwitchQuery),
  removeInstance: ({ value }) => ofService('operate', value),
  sendAway: operate,
  listSessions: operate,
  inspectService: ({ value }) => ofService('operate', value),
  inspectSession: operate,
  readSlots: operate,
  readEndpoints: () => [],
  backUp: administer,
  listPolicies: administer,
  putPolicy: administer,
  deletePolicy: administer,
  listTokens: administer,
  createToken: administer,
  rotateToken: administer,
  revokeToken: administer,
  whoAmI: () => [],
  checkLive: undefined,
  checkStarted: undefined,
  checkReady: undefined,
  readOpenapi: undefined,
  readOpenrpc: undefined,
};

function ofService(action: 'read' | 'register' | 'subscribe' | 'operate', value: unknown): readonly Need[] {
  return [needService(action, serviceKey(value as ServiceFields))];
}

function ofSwitch({ namespace, group, service }: SwitchQuery): readonly Need[] {
  return service === undefined ? operate() : ofService('operate', { namespace, group, service });
}

function operate(): readonly Need[] {
  return [needRegistry('operate')];
}

function administer(): readonly Need[] {
  return [needRegistry('admin')];
}
