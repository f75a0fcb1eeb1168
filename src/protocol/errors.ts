/**
 * The closed list of error codes (WP2). On the WebSocket an error is `{ code: <number>, message, data: { code: <name>, … } }`;
 * over HTTP it is `{ error: { code: <name>, message, … } }` with the status below. docs/PROTOCOL.md lists them; a test compares.
 */
export const errorCodes = {
  parse_error: { number: -32700, status: 400, meaning: 'The frame or body is not JSON.' },
  invalid_request: { number: -32600, status: 400, meaning: 'It is JSON, but not a request of this protocol.' },
  unknown_method: { number: -32601, status: 405, meaning: 'There is no such method.' },
  invalid_params: {
    number: -32602,
    status: 400,
    meaning: 'A field is missing, unknown, of the wrong type or out of its range; `data.field` names it.',
  },
  internal: {
    number: -32603,
    status: 500,
    meaning: 'The server failed; the request may or may not have been carried out.',
  },
  busy: {
    number: -32000,
    status: 503,
    meaning: 'A queue is full; nothing was done; try again after `data.retryAfterMs`.',
  },
  not_found: { number: -32001, status: 404, meaning: 'There is no such instance, lease or path.' },
  not_owner: {
    number: -32002,
    status: 409,
    meaning: 'Only other sessions have registered the instance, so only they can remove it.',
  },
  limit_exceeded: {
    number: -32003,
    status: 413,
    meaning: 'A limit was met; `data.limit` names it and `data.max` is its value.',
  },
  not_open: { number: -32004, status: 401, meaning: 'This server requires `session.open` before anything else.' },
  draining: {
    number: -32005,
    status: 503,
    meaning: 'The server is stopping; connect again after `data.retryAfterMs`.',
  },
  forbidden: {
    number: -32006,
    status: 403,
    meaning:
      'Pages of this Origin may not call, or `Host` is not a name of the server; see `allowedOrigins` and `allowedHosts`. Or no policy of the caller allows it; without access control, administration is for callers on this machine.',
  },
  unsupported_version: {
    number: -32007,
    status: 400,
    meaning: 'The client speaks a version of the protocol that is no longer supported; the message says which are.',
  },
  storage_unavailable: {
    number: -32009,
    status: 503,
    meaning: 'What must outlive the process cannot be stored at present; nothing was done, and the log says why.',
  },
  read_only: {
    number: -32010,
    status: 503,
    meaning:
      'An operator has made the registry read-only: nothing was registered or stored; try again after `data.retryAfterMs`.',
  },
  quarantined: {
    number: -32011,
    status: 403,
    meaning: 'An operator has quarantined the caller, or the service; nothing was done, and the message says why.',
  },
  unauthorized: {
    number: -32012,
    status: 401,
    meaning: 'The caller must show credentials, or those that it has shown are not valid, or no longer.',
  },
  misdirected: {
    number: -32008,
    status: 421,
    meaning: 'This port serves sessions and health only; `httpPort` and the message say where HTTP is served.',
  },
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** An expected failure, as a value: it crosses threads and wires as plain data. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  /** `invalid_params`: the field, as a JSON pointer. */
  readonly field?: string;
  /** `limit_exceeded`: the bound's name and value. */
  readonly limit?: string;
  readonly max?: number;
  /** `busy`, `draining` and `read_only`: how long to wait. */
  readonly retryAfterMs?: number;
  /** `misdirected`: where HTTP is served; left out if it is not. */
  readonly httpPort?: number;
}

/** WebSocket close codes that the server sends. */
export const closeCodes = {
  normal: { number: 1000, meaning: 'The client closed, cleanly.' },
  going_away: { number: 1001, meaning: 'The server stops.' },
  binary_frame: { number: 1003, meaning: 'The client sent a binary frame; the protocol has only text frames.' },
  frame_too_big: { number: 1009, meaning: 'A frame was larger than `frameBytesMax`.' },
  heartbeat_timeout: { number: 4001, meaning: 'The client was silent for `heartbeatTimeoutMs`.' },
  slow_consumer: {
    number: 4002,
    meaning: 'The client did not read what it was sent: nothing for `slowConsumerTimeoutMs`, or too much was waiting.',
  },
  resumed_elsewhere: { number: 4003, meaning: 'Another connection has taken the session over.' },
  quarantined: {
    number: 4005,
    meaning: 'An operator has quarantined the address or the application of the client.',
  },
  unauthorized: {
    number: 4006,
    meaning:
      "The client's credentials are not valid, or no longer, or what it may do has changed; it may connect again with others.",
  },
  overrun: {
    number: 4004,
    meaning: 'The client sent requests much faster than they can be carried out, and too much was waiting.',
  },
} as const;

export type CloseReason = keyof typeof closeCodes;
