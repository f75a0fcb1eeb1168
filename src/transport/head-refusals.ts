import type { Failure } from '../protocol/errors.ts';
import type { HeadFailure } from './transport.ts';

/** How a request is refused that is not even read, and with which status. */
export const headRefusals: Readonly<Record<HeadFailure, { readonly status: number; readonly failure: Failure }>> = {
  malformed: { status: 400, failure: { code: 'invalid_request', message: 'this is not an HTTP request' } },
  'unknown method': { status: 405, failure: { code: 'unknown_method', message: 'there is no such method' } },
  'too large': { status: 431, failure: { code: 'invalid_request', message: 'the head of the request is too large' } },
  'too slow': { status: 408, failure: { code: 'invalid_request', message: 'the request took too long to arrive' } },
};

/** How Node names what is wrong with a request. */
export const headFailures: Readonly<Record<string, HeadFailure>> = {
  HPE_INVALID_METHOD: 'unknown method',
  HPE_HEADER_OVERFLOW: 'too large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'too large',
  ERR_HTTP_REQUEST_TIMEOUT: 'too slow',
};
