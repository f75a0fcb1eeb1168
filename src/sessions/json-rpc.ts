import fastJson from 'fast-json-stringify';

import { errorCodes } from '../protocol/errors.ts';
import type { Failure } from '../protocol/errors.ts';
import { methodSchemas } from '../protocol/schemas.ts';
import type { JsonSchema } from '../protocol/schemas.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type {
  ListResult,
  Notifications,
  RegistrationsResult,
  RequestId,
  SessionOpenResult,
} from '../protocol/types.ts';
import type { ServicePush } from '../push/service-push.ts';
import type { Result } from './answers.ts';
import type { Encoding, KeyNotice } from './encoding.ts';

// The only place that knows how results, errors, notifications and pushes look on the wire. What is encoded from objects is encoded by functions made from
// the schemas, which take what they are given on trust.

function compileEncoder(schema: JsonSchema): (value: object) => string {
  return fastJson(schema as object as fastJson.Schema);
}

const stringifyError: (error: { code: number; message: string; data: Omit<Failure, 'message'> }) => string =
  compileEncoder({
    type: 'object',
    properties: {
      code: { type: 'integer' },
      message: { type: 'string' },
      data: {
        type: 'object',
        properties: {
          code: { type: 'string' },
          field: { type: 'string' },
          limit: { type: 'string' },
          max: { type: 'integer' },
          retryAfterMs: { type: 'integer' },
        },
      },
    },
  });
const stringifyOpened: (result: SessionOpenResult) => string = compileEncoder(methodSchemas['session.open'].result);
const stringifyRegistrations: (result: RegistrationsResult) => string = compileEncoder(
  methodSchemas['session.registrations'].result,
);
const stringifyListed: (result: ListResult) => string = compileEncoder(methodSchemas['service.list'].result);

/** A result as JSON, without the envelope that JSON-RPC puts around it. */
export function encodeResult(result: Result): string {
  switch (result.kind) {
    case 'registered':
      return `{"version":${result.version},"id":${JSON.stringify(result.id)}${encodeWeight(result.weight)}${result.isOff === true ? ',"closed":true' : ''}}`;
    case 'deregistered':
    case 'reported':
      return `{"version":${result.version}}`;
    case 'state':
      return `{"version":${result.version},${result.list}${encodeWarming(result.isWarming)}}`;
    case 'resumed':
      return `{"from":${result.from},"version":${result.version},${result.difference}${encodeWarming(result.isWarming)}}`;
    case 'opened':
      return stringifyOpened(result.opening);
    case 'registrations':
      return stringifyRegistrations(result.page);
    case 'listed':
      return stringifyListed(result.page);
    case 'keys':
      return JSON.stringify(result.result);
    case 'watching': {
      const changes = result.changes === undefined ? '' : `,"changes":${result.changes}`;
      return `{"version":${result.version}${changes}${result.isResync ? ',"resync":true' : ''}}`;
    }
    case 'done':
      return '{}';
    default:
      return result satisfies never;
  }
}

/** A push as JSON, without an envelope: the params of `service.changed`. */
export function encodeChange(push: ServicePush): string {
  const { namespace, group, service } = parseServiceKey(push.key);
  const name = `"namespace":"${namespace}","group":"${group}","service":${JSON.stringify(service)}`;
  switch (push.kind) {
    case 'delta':
      return `{${name},"count":${push.count},"from":${push.from},"to":${push.to},${push.difference}}`;
    case 'snapshot':
      return `{${name},"count":${push.count},"snapshot":true,"to":${push.to},${push.list}}`;
    default:
      return push satisfies never;
  }
}

/** What is new about keys as JSON, without an envelope: the params of `kv.changed`. */
export function encodeKeyNews({ target, version, changes }: KeyNotice): string {
  const name = `"${target.kind}":${JSON.stringify(target.name)}`;
  return `{${name},"version":${version},${changes === undefined ? '"resync":true' : `"changes":${changes}`}}`;
}

/** JSON-RPC 2.0, as PROTOCOL describes it. */
export const jsonRpc: Encoding = {
  encodeAnswer: (id, result) => `{"jsonrpc":"2.0","id":${encodeId(id)},"result":${encodeResult(result)}}`,
  encodeRefusal: (id, { code, message, ...details }) => {
    const error = { code: errorCodes[code].number, message, data: { code, ...details } };
    return `{"jsonrpc":"2.0","id":${encodeId(id)},"error":${stringifyError(error)}}`;
  },
  joinBatch: (answers) => `[${answers.join(',')}]`,
  encodeNotice: (notice) => {
    switch (notice.kind) {
      case 'goaway': {
        const { reason, reconnectAfterMs } = notice;
        return encodeNotification('session.goaway', { reason, reconnectAfterMs });
      }
      case 'claim': {
        const { key, id, isShown } = notice;
        return encodeNotification('instance.claim', { ...parseServiceKey(key), id, shown: isShown });
      }
      default:
        return notice satisfies never;
    }
  },
  encodePush: (push) => `{"jsonrpc":"2.0","method":"service.changed","params":${encodeChange(push)}}`,
  encodeKeyNews: (notice) => `{"jsonrpc":"2.0","method":"kv.changed","params":${encodeKeyNews(notice)}}`,
};

function encodeNotification<N extends Exclude<keyof Notifications, 'service.changed' | 'kv.changed'>>(
  method: N,
  params: Notifications[N],
): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params });
}

function encodeId(id: RequestId): string {
  return typeof id === 'number' ? String(id) : JSON.stringify(id);
}

function encodeWeight(weight: number | undefined): string {
  return weight === undefined ? '' : `,"weight":${weight}`;
}

function encodeWarming(isWarming: boolean): string {
  return isWarming ? ',"warming":true' : '';
}
